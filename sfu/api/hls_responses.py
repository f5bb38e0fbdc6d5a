"""Rendered HLS responses and their cache.

Each viewer sends ten requests per second, so common responses are rendered once, including their heads.
"""

import gzip
import time
from collections import OrderedDict
from collections.abc import Callable

from aiohttp import hdrs, web

from sfu.api import cors, ranges
from sfu.api.long_polling import PreparedResponse
from sfu.auth.origins import Origins

PLAYLIST = "application/vnd.apple.mpegurl"
MEDIA = "video/mp4"
CAPTIONS = "text/vtt; charset=utf-8"
CACHE_SIZE = 256
"""Maximum cached responses: the newest playlists and the parts that viewers currently fetch."""
COMPRESSED_FROM = 256
RENDERED_EACH_SECOND = frozenset({"index", "captions list"})
_MEDIA_FIELDS = "Vary: Origin\r\nAccept-Ranges: bytes\r\n"

Key = tuple[object, ...]
"""Cache key of a response."""


class HlsResponses:
    """Responses with playlists, media and captions, for all live streams of the server."""

    def __init__(self, origins: tuple[str, ...]) -> None:
        """`origins`: `outputs.hls.origins`. Raises ConfigurationError for an invalid one."""
        self._origins = Origins(origins, setting="outputs.hls.origins")
        self._policy = "cross-origin" if origins else "same-origin"
        self._origin_results: dict[tuple[str, str | None], bool] = {}
        "Results by origin and host."
        self._responses: OrderedDict[Key, tuple[bytes, bytes]] = OrderedDict()

    def __contains__(self, key: Key) -> bool:
        return key in self._responses

    def playlist(self, request: web.Request, key: Key, render: Callable[[], bytes]) -> web.StreamResponse:
        zipped = "gzip" in request.headers.get(hdrs.ACCEPT_ENCODING, "")
        if key[0] in RENDERED_EACH_SECOND:
            # These have no version number; render them once per second, because it takes milliseconds after hours.
            key = (*key, int(time.monotonic()))
        key = (*key, zipped)
        held = self._cached(key)
        if held is None:
            body = render()
            extra = "Vary: Accept-Encoding, Origin\r\n"
            if zipped and len(body) >= COMPRESSED_FROM:
                body, extra = gzip.compress(body, 6, mtime=0), extra + "Content-Encoding: gzip\r\n"
            held = self._store(key, self._head(PLAYLIST, "no-cache", len(body), extra), body)
        return PreparedResponse(200, *held)

    def media(self, request: web.Request, key: Key | None, data: bytes, cache: str) -> web.StreamResponse:
        """`key`: cache key; None: do not cache."""
        return self._fixed(request, key, MEDIA, _immutable(cache), data)

    def captions(self, request: web.Request, key: Key, data: bytes, cache: str) -> web.StreamResponse:
        """One block of a caption track."""
        return self._fixed(request, key, CAPTIONS, _immutable(cache), data)

    def _fixed(self, request: web.Request, key: Key | None, kind: str, cache: str, data: bytes) -> web.StreamResponse:
        held = self._cached(key) if key is not None else None
        if held is None:
            held = self._store(key, self._head(kind, cache, len(data), _MEDIA_FIELDS), data)
        if hdrs.RANGE not in request.headers:
            return PreparedResponse(200, *held)
        return self._ranged(request, held, kind, cache)

    def _ranged(self, request: web.Request, held: tuple[bytes, bytes], kind: str, cache: str) -> web.StreamResponse:
        """Range requests (RFC 9110 14). Media have no entity tag, so a request with `If-Range` gets the whole file."""
        head, body = held
        headers = request.headers
        try:
            part = ranges.parse_range(
                request.method, headers.get(hdrs.RANGE), headers.get(hdrs.IF_RANGE), len(body), etag=""
            )
        except ranges.Unsatisfiable:
            fields = f"{_MEDIA_FIELDS}Content-Range: bytes */{len(body)}\r\n"
            return PreparedResponse(416, self._head(kind, "no-store", 0, fields, "416 Range Not Satisfiable"), b"")
        if part is None:
            return PreparedResponse(200, head, body)
        fields = f"{_MEDIA_FIELDS}Content-Range: {ranges.content_range(part, len(body))}\r\n"
        chosen = body[part[0] : part[1] + 1]
        return PreparedResponse(206, self._head(kind, cache, len(chosen), fields, "206 Partial Content"), chosen)

    def _cached(self, key: Key) -> tuple[bytes, bytes] | None:
        held = self._responses.get(key)
        if held is not None:
            self._responses.move_to_end(key)
        return held

    def _store(self, key: Key | None, head: bytes, body: bytes) -> tuple[bytes, bytes]:
        held = (head, body)
        if key is not None:
            self._responses[key] = held
            if len(self._responses) > CACHE_SIZE:
                self._responses.popitem(last=False)
        return held

    def _head(self, kind: str, cache: str, length: int, extra: str, status: str = "200 OK") -> bytes:
        return (
            f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nCache-Control: {cache}\r\n"
            f"X-Content-Type-Options: nosniff\r\nCross-Origin-Resource-Policy: {self._policy}\r\n"
            f"Server: aiosfu\r\n{extra}"
        ).encode()

    def _accepts(self, origin: str, host: str | None) -> bool:
        accepted = self._origin_results.get((origin, host))
        if accepted is None:
            if len(self._origin_results) >= CACHE_SIZE:
                self._origin_results.clear()
            accepted = self._origin_results[origin, host] = self._origins.accepts(origin, host)
        return accepted

    def with_origin(self, request: web.Request, answer: web.StreamResponse) -> web.StreamResponse:
        origin = request.headers.get(hdrs.ORIGIN)
        if origin is None or not self._accepts(origin, request.headers.get(hdrs.HOST)):
            return answer
        if isinstance(answer, PreparedResponse):
            answer.allow(origin, cors.EXPOSED)
        else:
            answer.headers[hdrs.ACCESS_CONTROL_ALLOW_ORIGIN] = origin
            answer.headers[hdrs.ACCESS_CONTROL_EXPOSE_HEADERS] = cors.EXPOSED
            answer.headers[hdrs.VARY] = "Origin"
            answer.headers["Cross-Origin-Resource-Policy"] = self._policy
        return answer


def _immutable(cache: str) -> str:
    """`Cache-Control` of files that never change (RFC 8246)."""
    return f"{cache}, max-age=3600, immutable"
