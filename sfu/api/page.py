"""Web pages: `index.html` for `/` and `/r/{room}`, `watch.html` for `/watch/{room}`, static files below `/static/`.

The server lists the files once, at startup. Requests can name only listed files, so no path from a URL reaches the file
system. URLs in the pages are relative, because a proxy may serve them below a prefix that the server does not know; scripts
derive all other URLs from their own (`web/page/base.js`).
"""

import hashlib
from pathlib import Path

from aiohttp import hdrs, web
from aiohttp.helpers import ETAG_ANY

from sfu.api.files import File

CONTENT_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".ico": "image/x-icon",
    ".jpg": "image/jpeg",
    ".js": "text/javascript; charset=utf-8",
    ".mp3": "audio/mpeg",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".wasm": "application/wasm",
    ".webmanifest": "application/manifest+json",
    ".webp": "image/webp",
    ".woff2": "font/woff2",
}
"""Served file types of `web/`. A fixed table, because `mimetypes` depends on the machine."""


def files(root: Path) -> dict[str, Path]:
    """Files by path below `/static/`."""
    found = (path for path in sorted(root.rglob("*")) if path.suffix in CONTENT_TYPES and path.is_file())
    return {path.relative_to(root).as_posix(): path for path in found}


def routes(root: Path) -> list[web.RouteDef]:
    known = files(root)
    index, watch = known["index.html"], known.get("watch.html")

    async def static(request: web.Request) -> web.StreamResponse:
        path = known.get(request.match_info["path"])
        if path is None:
            raise web.HTTPNotFound
        return _answer(path)

    return [
        web.get("/", _Page(index, "").respond),
        web.get("/r/{room}", _Page(index, "../").respond),
        *([web.get("/watch/{room}", _Page(watch, "../").respond)] if watch is not None else []),
        web.get("/static/{path:.+}", static),
    ]


class _Page:
    """An HTML page whose `/static/` URLs are made relative. Reloaded when the file changes."""

    def __init__(self, path: Path, up: str) -> None:
        """`up`: relative path from the page's URL to the root."""
        self._path = path
        self._up = up
        self._modified = 0
        self._body, self._tag = b"", ""

    async def respond(self, request: web.Request) -> web.StreamResponse:
        self._read()
        headers = {"Cache-Control": "no-cache", "Content-Type": CONTENT_TYPES[".html"], hdrs.ETAG: f'"{self._tag}"'}
        if any(one.value in (ETAG_ANY, self._tag) for one in request.if_none_match or ()):
            return web.Response(status=304, headers=headers)
        return web.Response(body=self._body, headers=headers)

    def _read(self) -> None:
        modified = self._path.stat().st_mtime_ns
        if modified != self._modified:
            text = self._path.read_text(encoding="utf-8").replace('="/static/', f'="{self._up}static/')
            self._modified, self._body = modified, text.encode()
            self._tag = hashlib.sha256(self._body).hexdigest()[:32]


def _answer(path: Path) -> File:
    # no-cache: browsers revalidate on each use (by ETag), so that an update takes effect immediately.
    return File(path, {"Cache-Control": "no-cache", "Content-Type": CONTENT_TYPES[path.suffix]})
