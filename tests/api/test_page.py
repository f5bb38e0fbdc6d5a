"""Static pages: served files, content types, and rejected paths."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from sfu.api.assets import web_root
from sfu.api.page import files
from tests.api.support import Server, running


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    root = tmp_path / "web"
    (root / "page").mkdir(parents=True)
    (root / "index.html").write_text("<!doctype html>page")
    (root / "page" / "main.js").write_text("export {}")
    (root / "tsconfig.json").write_text("{}")
    (root / "page" / "main.d.ts").write_text("")
    (tmp_path / "secret.js").write_text("secret")
    async with running(page_root=root) as started:
        yield started


@pytest.mark.parametrize("path", ["/", "/r/demo", "/r/a%2Fb", "/r/%F0%9F%90%99", "/r/..%2f..%2fetc"])
async def test_page(server: Server, path: str) -> None:
    status, headers, text = await server.exchange("GET", path)
    assert (status, text) == (200, "<!doctype html>page")
    assert headers["Content-Type"] == "text/html; charset=utf-8"
    assert headers["Cache-Control"] == "no-cache"
    assert "Content-Security-Policy" in headers


async def test_files_and_revalidation(server: Server) -> None:
    status, headers, text = await server.exchange("GET", "/static/page/main.js")
    assert (status, text) == (200, "export {}")
    assert headers["Content-Type"] == "text/javascript; charset=utf-8"
    again = await server.exchange("GET", "/static/page/main.js", headers={"If-None-Match": headers["ETag"]})
    assert again[0] == 304
    assert (await server.ask("HEAD", "/"))[0] == 200


@pytest.mark.parametrize(
    "target",
    [
        "/static/",
        "/static/tsconfig.json",
        "/static/page/main.d.ts",
        "/static/page/none.js",
        "/static/page",
        "/static/../secret.js",
        "/static/..%2fsecret.js",
        "/static/%2e%2e/secret.js",
        "/static/page/../../secret.js",
        "/static//etc/passwd",
        "/static/page/main.js%00",
        "/r/demo/more",
    ],
)
async def test_rejected_paths(server: Server, target: str) -> None:
    """Uses a raw socket, because HTTP clients normalize such paths."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(f"GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    assert answer.split()[1] in (b"404", b"400")
    assert b"secret" not in answer


def test_the_real_page_is_found() -> None:
    known = files(web_root())
    assert "index.html" in known
    assert not [path for path in known if path.endswith((".ts", ".md", ".json"))]
    html = known["index.html"].read_text(encoding="utf-8")
    assert "<script>" not in html
    assert "style=" not in html
