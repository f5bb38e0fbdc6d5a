"""Rendered responses: their heads, the cache, ranges and origins."""

import gzip

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from sfu.api.hls_responses import CACHE_SIZE, COMPRESSED_FROM, HlsResponses

ORIGIN = "https://watch.example.org"
MEDIA = bytes(range(256))


def request(method: str = "GET", **headers: str) -> web.Request:
    return make_mocked_request(
        method, "/hls/hall/x", {name.replace("_", "-"): value for name, value in headers.items()}
    )


def parts(answer: web.StreamResponse) -> tuple[int, str, bytes]:
    """Status, head and body."""
    head, body = answer._bytes  # type: ignore[attr-defined]  # the prepared bytes have no public name
    return answer.status, head.decode(), body


def test_playlists_are_rendered_once_per_key_and_coding() -> None:
    responses, rendered = HlsResponses(()), list[int]()

    def render() -> bytes:
        rendered.append(1)
        return b"#EXTM3U\n" * COMPRESSED_FROM

    for _ in range(2):
        status, head, body = parts(responses.playlist(request(), ("live", 1), render))
        assert (status, body) == (200, b"#EXTM3U\n" * COMPRESSED_FROM)
        assert "Cache-Control: no-cache\r\n" in head
        _, head, zipped = parts(responses.playlist(request(Accept_Encoding="gzip"), ("live", 1), render))
        assert gzip.decompress(zipped) == body
        assert "Content-Encoding: gzip\r\n" in head
        assert f"Content-Length: {len(zipped)}\r\n" in head
    assert len(rendered) == 2


def test_short_playlists_are_not_compressed() -> None:
    _, head, body = parts(HlsResponses(()).playlist(request(Accept_Encoding="gzip"), ("live", 1), lambda: b"#EXTM3U"))
    assert (body, "Content-Encoding" in head) == (b"#EXTM3U", False)


@pytest.mark.parametrize(
    ("headers", "status", "body", "field"),
    [
        ({}, 200, MEDIA, "Content-Length: 256\r\n"),
        ({"Range": "bytes=0-9"}, 206, MEDIA[:10], "Content-Range: bytes 0-9/256\r\n"),
        ({"Range": "bytes=250-"}, 206, MEDIA[250:], "Content-Range: bytes 250-255/256\r\n"),
        ({"Range": "bytes=-6"}, 206, MEDIA[250:], "Content-Length: 6\r\n"),
        ({"Range": "bytes=256-"}, 416, b"", "Content-Range: bytes */256\r\n"),
        ({"Range": "bytes=0-9", "If_Range": '"x"'}, 200, MEDIA, "Content-Length: 256\r\n"),
    ],
)
def test_media(headers: dict[str, str], status: int, body: bytes, field: str) -> None:
    found = parts(HlsResponses(()).media(request(**headers), ("part", 1), MEDIA, "private"))
    assert (found[0], found[2]) == (status, body)
    assert field in found[1]
    expected = "no-store" if status == 416 else "private, max-age=3600, immutable"
    assert f"Cache-Control: {expected}\r\n" in found[1]


def test_the_cache_keeps_what_was_requested_last() -> None:
    responses = HlsResponses(())
    for number in range(CACHE_SIZE):
        responses.media(request(), ("part", number), b"x", "public")
    responses.media(request(), ("part", 0), b"x", "public")
    responses.captions(request(), ("captions", 0), b"WEBVTT", "public")
    assert ("part", 0) in responses
    assert ("part", 1) not in responses
    responses.media(request(), None, b"x", "public")
    assert ("part", 2) in responses, "a response without a key is not cached"


@pytest.mark.parametrize(
    ("origins", "origin", "allowed"),
    [
        ((ORIGIN,), ORIGIN, True),
        ((ORIGIN,), "https://other.example.org", False),
        ((), ORIGIN, False),
        (("*",), ORIGIN, True),
    ],
)
def test_origins(origins: tuple[str, ...], origin: str, allowed: bool) -> None:
    responses = HlsResponses(origins)
    asked = request(Origin=origin, Host="meet.example.org")
    for _ in range(2):
        answer = responses.with_origin(asked, web.Response())
        assert answer.headers.get("Access-Control-Allow-Origin") == (origin if allowed else None)
    _, head, _ = parts(responses.media(asked, ("part", 1), MEDIA, "public"))
    assert ("Cross-Origin-Resource-Policy: cross-origin" in head) is bool(origins)
