"""Byte ranges (RFC 9110 14): selection, and responses for files, recordings and segments."""

from email.utils import formatdate
from pathlib import Path

import pytest
from aiohttp import web

from sfu.api.files import File, attachment
from sfu.api.ranges import Unsatisfiable, parse_range
from tests.api.support import running
from tests.api.test_hls import on_air, site
from tests.outputs.hls.test_live_stream import part

SIZE = 1000
ROWS: list[tuple[str | None, tuple[int, int] | None]] = [
    (None, None),
    ("bytes=0-0", (0, 0)),
    ("bytes=0-99", (0, 99)),
    ("bytes=100-", (100, 999)),
    ("bytes=999-", (999, 999)),
    ("bytes=0-99999", (0, 999)),
    ("bytes=-1", (999, 999)),
    ("bytes=-1000", (0, 999)),
    ("bytes=-99999", (0, 999)),
    ("Bytes=0-9", (0, 9)),
    ("bytes= 0-9 ", (0, 9)),
    # Ignored: several ranges, other units, malformed ones.
    ("bytes=0-1,5-6", None),
    ("bytes=0-1, -2", None),
    ("items=0-9", None),
    ("bytes=9-0", None),
    ("bytes=-", None),
    ("bytes=", None),
    ("bytes=a-b", None),
    ("bytes=0x0-9", None),
    ("bytes=+0-9", None),
    ("bytes=\u0661-\u0662", None),
    ("bytes=" + "9" * 5000 + "-", None),
    ("0-9", None),
    ("", None),
]
UNSATISFIABLE = ("bytes=1000-", "bytes=1000-1001", "bytes=-0", "bytes=9999999999999999999-")


@pytest.mark.parametrize(("wanted", "expected"), ROWS)
def test_ranges(wanted: str | None, expected: tuple[int, int] | None) -> None:
    assert parse_range("GET", wanted, None, SIZE, etag='"tag"') == expected
    assert parse_range("HEAD", wanted, None, SIZE, etag='"tag"') is None


@pytest.mark.parametrize("wanted", UNSATISFIABLE)
def test_unsatisfiable_ranges(wanted: str) -> None:
    with pytest.raises(Unsatisfiable):
        parse_range("GET", wanted, None, SIZE, etag='"tag"')


@pytest.mark.parametrize("wanted", ["bytes=0-", "bytes=-5", "bytes=0-0"])
def test_an_empty_file_has_no_range(wanted: str) -> None:
    with pytest.raises(Unsatisfiable):
        parse_range("GET", wanted, None, 0, etag='"tag"')


MODIFIED = 1_700_000_000.75


@pytest.mark.parametrize(
    ("condition", "kept"),
    [
        ('"tag"', True),
        (' "tag" ', True),
        ('"other"', False),
        ('W/"tag"', False),
        ("tag", False),
        ("*", False),
        (formatdate(MODIFIED, usegmt=True), True),
        (formatdate(MODIFIED - 1, usegmt=True), False),
        (formatdate(MODIFIED + 1, usegmt=True), False),
        ("yesterday", False),
        ("", False),
    ],
)
def test_if_range(condition: str, kept: bool) -> None:
    found = parse_range("GET", "bytes=0-9", condition, SIZE, etag='"tag"', modified=MODIFIED)
    assert found == ((0, 9) if kept else None)


async def test_files(tmp_path: Path) -> None:
    path, content = tmp_path / "film.mp4", bytes(at % 251 for at in range(400_000))
    path.write_bytes(content)

    async def send(request: web.Request) -> web.StreamResponse:
        return File(path, {"Content-Type": "video/mp4"})

    async with running(routes=[web.get("/film", send)]) as server:

        async def get(method: str = "GET", **headers: str) -> tuple[int, dict[str, str], bytes]:
            sent = {name.replace("_", "-"): value for name, value in headers.items()}
            async with server.client.request(method, "/film", headers=sent) as answer:
                return answer.status, dict(answer.headers), await answer.read()

        status, whole, body = await get()
        assert (status, body, whole["Accept-Ranges"]) == (200, content, "bytes")
        tag, modified = whole["Etag"], whole["Last-Modified"]
        for wanted, first, last in (
            ("0-9", 0, 9),
            ("131000-131200", 131_000, 131_200),
            ("-7", 399_993, 399_999),
            ("200000-", 200_000, 399_999),
        ):
            for condition in ({}, {"If_Range": tag}, {"If_Range": modified}):
                status, headers, body = await get(Range=f"bytes={wanted}", **condition)
                assert (status, body) == (206, content[first : last + 1])
                assert headers["Content-Range"] == f"bytes {first}-{last}/400000"
                assert headers["Content-Length"] == str(last + 1 - first)
        assert (await get(Range="bytes=0-9", If_Range='"other"'))[::2] == (200, content)
        assert (await get(Range="bytes=0-9,20-29"))[::2] == (200, content)
        status, headers, body = await get(Range="bytes=400000-")
        assert (status, headers["Content-Range"], body) == (416, "bytes */400000", b"")
        status, headers, body = await get("HEAD", Range="bytes=0-9")
        assert (status, headers["Content-Length"], body) == (200, "400000", b"")
        assert (await get(If_None_Match=tag))[::2] == (304, b"")
        assert (await get(If_None_Match=f'"x", W/{tag}'))[0] == 304
        assert (await get(If_None_Match="*"))[0] == 304
        assert (await get(If_None_Match='"x"', If_Modified_Since=modified))[0] == 200
        assert (await get(If_Modified_Since=modified))[0] == 304
        assert (await get(If_Match='"x"'))[0] == 412
        assert (await get(If_Match=tag, Range="bytes=0-9"))[0] == 206
        assert (await get(If_Unmodified_Since="Thu, 01 Jan 1970 00:00:00 GMT"))[0] == 412
        path.write_bytes(content + b"!")
        assert (await get(Range="bytes=0-9", If_Range=tag))[::2] == (200, content + b"!")
        path.unlink()
        assert (await get())[0] == 404
        path.mkdir()
        assert (await get())[0] == 404


@pytest.mark.parametrize("name", ["720p/11.0.m4s", "720p/11.m4s", "720p/0.m4s", "720p/init0.mp4"])
async def test_segments_in_memory_and_on_disk(tmp_path: Path, name: str) -> None:
    async with site(tmp_path) as hall:
        on_air(hall, 60)
        path = f"/hls/town-hall/PG_1/{name}"
        status, headers, whole = await hall.get(path)
        assert (status, headers["Accept-Ranges"]) == (200, "bytes")
        for wanted, chosen in (("bytes=0-9", whole[:10]), ("bytes=-9", whole[-9:]), ("bytes=20-", whole[20:])):
            status, headers, body = await hall.get(path, headers={"Range": wanted})
            assert (status, body, headers["Content-Length"]) == (206, chosen, str(len(chosen)))
            assert headers["Content-Range"].endswith(f"/{len(whole)}")
            assert headers["Cache-Control"] == "public, max-age=3600, immutable"
        status, headers, body = await hall.get(path, headers={"Range": f"bytes={len(whole)}-"})
        assert (status, headers["Content-Range"], body) == (416, f"bytes */{len(whole)}", b"")
        assert (await hall.get(path, headers={"Range": "bytes=0-1,3-4"}))[::2] == (200, whole)
        assert (await hall.get(path, headers={"Range": "bytes=0-1", "If-Range": '"x"'}))[::2] == (200, whole)
        assert (await hall.get(path, "HEAD", headers={"Range": "bytes=0-1"}))[0] == 200


async def test_full_part_after_a_range_request(tmp_path: Path) -> None:
    async with site(tmp_path) as hall:
        on_air(hall)
        path = "/hls/town-hall/PG_1/720p/0.0.m4s"
        assert (await hall.get(path, headers={"Range": "bytes=0-3"}))[::2] == (206, part(0).data[:4])
        assert (await hall.get(path))[::2] == (200, part(0).data)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("recording.mp4", 'attachment; filename="recording.mp4"'),
        ("a b.mp4", 'attachment; filename="a b.mp4"'),
        ("会議.mp4", "attachment; filename=\"__.mp4\"; filename*=UTF-8''%E4%BC%9A%E8%AD%B0.mp4"),
        ('a"b\\c.mp4', "attachment; filename=\"a_b_c.mp4\"; filename*=UTF-8''a%22b%5Cc.mp4"),
        ("50%41.mp4", "attachment; filename=\"50_41.mp4\"; filename*=UTF-8''50%2541.mp4"),
        ("a\r\nX: y", "attachment; filename=\"a__X: y\"; filename*=UTF-8''a%0D%0AX%3A%20y"),
    ],
)
def test_names_of_downloads(name: str, expected: str) -> None:
    assert attachment(name) == expected
