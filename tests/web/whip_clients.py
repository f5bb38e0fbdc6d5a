"""A page of another origin with WHIP clients: whip.js, and the public libraries `whip-whep` and `@eyevinn/whip-web-client`."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from aiohttp import web

from tests.support.npm import bundle
from tests.support.ports import free_port

PACKAGES = ("whip-whep@1.2", "@eyevinn/whip-web-client@1.1")
ENTRY = """
export { WHIPClient as Medooze } from "whip-whep/whip.js";
export { WHIPClient as Eyevinn } from "@eyevinn/whip-web-client";
"""
PAGE = """<!doctype html><title>Encoder</title><script>{client}</script>
<script type="module">import * as clients from "./clients.js"; Object.assign(window, clients);</script>"""


@asynccontextmanager
async def serve_clients() -> AsyncIterator[str]:
    """Serves the page; its origin."""
    page = PAGE.format(client=Path(__file__).with_name("whip.js").read_text())
    clients = await asyncio.to_thread(bundle, "whip_clients", ENTRY, PACKAGES, "esm")

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
