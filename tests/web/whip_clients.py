"""A page of another origin with WHIP clients: whip.js, and the public libraries `whip-whep` and `@eyevinn/whip-web-client`."""

import asyncio
import fcntl
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from aiohttp import web

from tests.support.ports import free_port

NODE = Path(__file__).parents[2] / "build" / "node"
BUNDLE = NODE / "whip_clients.js"
PACKAGES = ("whip-whep@1.2", "@eyevinn/whip-web-client@1.1", "esbuild@0.25")
ENTRY = """
export { WHIPClient as Medooze } from "whip-whep/whip.js";
export { WHIPClient as Eyevinn } from "@eyevinn/whip-web-client";
"""
PAGE = """<!doctype html><title>Studio</title><script>{client}</script>
<script type="module">import * as clients from "./clients.js"; Object.assign(window, clients);</script>"""


async def _run(*command: str, given: str = "") -> None:
    process = await asyncio.create_subprocess_exec(*command, cwd=NODE, stdin=asyncio.subprocess.PIPE)
    await process.communicate(given.encode())
    assert process.returncode == 0, command


async def bundle() -> str:
    """The libraries as one module, from the npm registry once. Test processes that run at the same time wait."""
    NODE.mkdir(parents=True, exist_ok=True)
    with (NODE / "whip_clients.lock").open("w") as lock:
        await asyncio.to_thread(fcntl.flock, lock, fcntl.LOCK_EX)
        if not BUNDLE.exists():
            npm = shutil.which("npm")
            assert npm, "the WHIP tests need npm: apt-get install npm"
            await _run(npm, "install", "--prefix", str(NODE), "--silent", "--no-audit", "--no-fund", *PACKAGES)
            esbuild = NODE / "node_modules" / ".bin" / "esbuild"
            await _run(
                str(esbuild), "--bundle", "--format=esm", "--log-level=error", f"--outfile={BUNDLE}", given=ENTRY
            )
    return await asyncio.to_thread(BUNDLE.read_text)


@asynccontextmanager
async def studio() -> AsyncIterator[str]:
    """Serves the page; its origin."""
    page = PAGE.format(client=Path(__file__).with_name("whip.js").read_text())
    clients = await bundle()

    async def index(request: web.Request) -> web.Response:
        return web.Response(text=page, content_type="text/html")

    async def module(request: web.Request) -> web.Response:
        return web.Response(text=clients, content_type="text/javascript")

    app = web.Application()
    app.add_routes([web.get("/", index), web.get("/clients.js", module)])
    runner = web.AppRunner(app)
    await runner.setup()
    port = free_port()
    await web.TCPSite(runner, "localhost", port).start()
    try:
        yield f"http://localhost:{port}"
    finally:
        await runner.cleanup()
