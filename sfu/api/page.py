"""The pages: `index.html` for `/` and every `/r/{room}`, `watch.html` for `/watch/{room}`, their files below `/static/`.

The files are listed once, when the server starts: a request can only name what is on the list, so no path out of a URL
ever reaches the file system.
"""

from pathlib import Path

from aiohttp import web

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
"""What of `web/` is served, and as what: never guessed from the machine's own tables."""


def files(root: Path) -> dict[str, Path]:
    """Path below `/static/` → file."""
    found = (path for path in sorted(root.rglob("*")) if path.suffix in CONTENT_TYPES and path.is_file())
    return {path.relative_to(root).as_posix(): path for path in found}


def routes(root: Path) -> list[web.RouteDef]:
    known = files(root)
    index = known["index.html"]

    async def page(request: web.Request) -> web.StreamResponse:
        return _answer(index)

    async def watch(request: web.Request) -> web.StreamResponse:
        if "watch.html" not in known:
            raise web.HTTPNotFound
        return _answer(known["watch.html"])

    async def static(request: web.Request) -> web.StreamResponse:
        path = known.get(request.match_info["path"])
        if path is None:
            raise web.HTTPNotFound
        return _answer(path)

    return [
        web.get("/", page),
        web.get("/r/{room}", page),
        web.get("/watch/{room}", watch),
        web.get("/static/{path:.+}", static),
    ]


def _answer(path: Path) -> File:
    # no-cache: kept, but asked for again each time (by ETag), so that an update reaches everybody at once.
    return File(path, {"Cache-Control": "no-cache", "Content-Type": CONTENT_TYPES[path.suffix]})
