"""Nodes in processes of their own, with signed HTTP between them.

    python -m tests.support.relay_process NAME DIRECTORY

publishes a camera as `TR_cam` until its standard input ends.
"""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from aiohttp import web

from sfu.api.internal_listener import NodeSite, node_middleware, relay_route
from sfu.api.middleware import RequestCounters, error_middleware
from sfu.api.settings import Settings as HttpSettings
from sfu.cluster.node_auth import NodeAuthentication
from sfu.cluster.node_client import RELAY_PATH, NodeClient
from sfu.cluster.ports import NodeInfo
from sfu.ids import TrackId
from sfu.transport.endpoint import WebRtcEndpoint
from sfu.transport.relay import Relay
from sfu.transport.settings import Settings
from sfu.transport.webrtc_server import WebRtcServer
from tests.support.relays import SECRET, SETTINGS, Camera, Node

TRACK = TrackId("TR_cam")


class HttpSignaling:
    """Each node listens on `NAME.sock` in the directory."""

    def __init__(self, client: NodeClient, directory: Path) -> None:
        self._client, self._directory = client, directory

    async def exchange(self, node: str, message: bytes) -> bytes:
        return await self._client.relay(NodeInfo(id=node, instance="", url=url_of(node, self._directory)), message)


def url_of(node: str, directory: Path) -> str:
    return f"unix:{directory / node}.sock"


@asynccontextmanager
async def http_node(
    name: str, directory: Path, secret: str = SECRET, settings: Settings = SETTINGS
) -> AsyncIterator[Node]:
    authentication = NodeAuthentication([secret], name)
    client = NodeClient(authentication)
    webrtc_server = WebRtcServer(settings)
    webrtc_server.open()
    relay = Relay(webrtc_server, name, [secret], HttpSignaling(client, directory))
    app = web.Application(middlewares=[node_middleware(authentication), error_middleware(RequestCounters())])
    app.router.add_post(RELAY_PATH, relay_route(relay.receive))
    runner = web.AppRunner(app)
    await runner.setup()
    await NodeSite(runner, HttpSettings(), url_of(name, directory)).start()
    node = Node(name, webrtc_server, WebRtcEndpoint(webrtc_server), relay)
    try:
        yield node
    finally:
        node.close()
        await runner.cleanup()
        await client.close()


async def main(name: str, directory: Path) -> None:
    async with http_node(name, directory) as node:
        camera = Camera(node)
        node.relay.publish(TRACK, camera.source)
        print("ready", flush=True)
        ended = asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
        while not ended.done():
            camera.step()
            await asyncio.sleep(0.003)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2])))
