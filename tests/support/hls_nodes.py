"""Nodes of a cluster that serve live streams, with real HTTP between them; a dictionary is their directory."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from aiohttp import web

from sfu.api.application import create_app
from sfu.api.forwarding import Forwarding
from sfu.api.hls import HlsRoutes
from sfu.api.hls_edge import HlsEdge
from sfu.api.internal_listener import Cluster, NodeSite
from sfu.api.middleware import REQUEST_COUNTERS
from sfu.api.server import listen
from sfu.api.services import Services
from sfu.api.settings import Settings
from sfu.auth.addresses import ClientAddresses
from sfu.auth.tokens import Claims, Verifier
from sfu.cluster.handover import ContinueRoom
from sfu.cluster.home_cache import HomeCache
from sfu.cluster.node_auth import NodeAuthentication
from sfu.cluster.node_client import NodeClient
from sfu.cluster.peers import PeerAnswer
from sfu.cluster.ports import Home, NodeInfo
from sfu.outputs.hls.live_streams import LiveStreams
from sfu.outputs.settings import Hls
from sfu.rooms import Rooms
from sfu.rooms import Settings as RoomsSettings
from tests.api.support import KEY, Node

SECRETS = ("s" * 32,)


@dataclass
class Homes:
    """Homes of rooms by room."""

    by_room: dict[str, NodeInfo] = field(default_factory=dict)


@dataclass
class Search:
    homes: Homes
    node: str

    async def find_home(self, room: str, *, create: bool) -> NodeInfo | None:
        home = self.homes.by_room.get(room)
        return home if home is not None and home.id != self.node else None

    def check_home(self, room: str) -> None: ...

    def home_of(self, room: str) -> Home | None:
        return None


@dataclass
class HlsNode:
    info: NodeInfo
    port: int
    live_streams: LiveStreams
    verifier: Verifier
    runner: web.AppRunner
    app: web.Application
    internal: NodeSite

    @property
    def hls_requests(self) -> int:
        """Requests for files of live streams, of viewers and edges."""
        counted = self.app[REQUEST_COUNTERS].by_route
        return sum(number for (_, route, _), number in counted.items() if route == "/hls/{room}/{path}")

    async def stop(self) -> None:
        """Other nodes cannot reach this node any more."""
        await self.internal.stop()
        for connection in list(self.runner.server.connections if self.runner.server is not None else ()):
            connection.force_close()


async def _announce(node: NodeInfo) -> PeerAnswer:
    return PeerAnswer.NONE


async def _continue_room(request: ContinueRoom) -> None:
    raise AssertionError(request)


def _authenticate(token: str) -> Claims:
    raise AssertionError("HLS requests are not authenticated by the forwarding")


@asynccontextmanager
async def hls_node(homes: Homes, name: str, folder: Path, **hls: Any) -> AsyncIterator[HlsNode]:
    settings, http = Hls(directory=str(folder / name), **hls), Settings(port=0)
    info = NodeInfo(id=name, instance=f"{name}-1", url=f"unix:{folder / name}.sock")
    live_streams, verifier, numbers = LiveStreams(settings), Verifier({"app": KEY}), count(1)
    authentication = NodeAuthentication(SECRETS, name)
    client, placement, addresses = NodeClient(authentication), HomeCache(Search(homes, name)), ClientAddresses(())
    edge = HlsEdge(placement, client)
    forwarding = Forwarding(
        placement=placement,
        nodes=client,
        living=_no_nodes,
        node_id=name,
        authenticate=_authenticate,
        creates=lambda claims: False,
        addresses=addresses,
    )
    rooms = Rooms(RoomsSettings(), lambda prefix: f"{prefix}_{next(numbers)}", time.time)
    app = create_app(
        http,
        Services(rooms=rooms, node=Node(), verifier=verifier),
        routes=tuple(HlsRoutes(settings, live_streams, verifier, b"s" * 32, edge=edge).routes()),
        access_log=False,
        addresses=addresses,
        cluster=Cluster(
            authentication=authentication,
            forwarding=forwarding,
            announce=_announce,
            continue_room=_continue_room,
            asks_for_edges=lambda room: False,
            relay=lambda node, message: b"",
        ),
    )
    internal: list[NodeSite] = []

    async def before(runner: web.AppRunner) -> None:
        internal.append(NodeSite(runner, http, info.url))
        await internal[0].start()

    runner, site = await listen(app, http, ("127.0.0.1",), before=before)
    try:
        yield HlsNode(info, site.port, live_streams, verifier, runner, app, internal[0])
    finally:
        edge.close()
        await client.close()
        await runner.cleanup()


async def _no_nodes() -> dict[str, NodeInfo]:
    return {}
