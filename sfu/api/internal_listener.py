"""The HTTP listener for other nodes of the cluster: the same application, for signed requests only.

A request that another node forwards carries the client's address. It is never forwarded again.
"""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

import msgspec
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from sfu.api.connection_limiter import ConnectionLimiter
from sfu.api.forwarding import Forwarding
from sfu.api.http_protocol import READ_BYTES, HeadDeadlineProtocol
from sfu.api.loop_time import ReadScheduler
from sfu.api.middleware import BODY_TIMEOUT, problem_of
from sfu.api.server import connection_of
from sfu.api.settings import Settings
from sfu.cluster.handover import ContinueRoom
from sfu.cluster.node_auth import CLIENT_HEADER, NODE_HEADER, NodeAuthentication
from sfu.cluster.peers import PeerAnswer, decode_node
from sfu.cluster.ports import NodeInfo
from sfu.errors import BadRequest, ConfigurationError, NotAuthorized
from sfu.forwarding.loop_budget import LoopBudget, make_unauthenticated_budget
from sfu.signaling.landing import FORWARDED_CLIENT

UNIX: Final = "unix:"


class NodeConnection(HeadDeadlineProtocol):
    """A connection of another node, or of a stranger who has no secret of the cluster."""

    __slots__ = ()


class NodeConnectionLimiter(ConnectionLimiter):
    """Limits connections in total, and not per address: all clients of a node share its address."""

    def is_proxy(self, address: str) -> bool:
        return True


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """The parts of the cluster that the application uses."""

    authentication: NodeAuthentication
    forwarding: Forwarding
    announce: Callable[[NodeInfo], Awaitable[PeerAnswer]]
    "Renews the lease of a node that does not reach the directory."
    continue_room: Callable[[ContinueRoom], Awaitable[None]]
    "Continues a room that another node moves to this one. Raises RemoteError."
    asks_for_edges: Callable[[str], bool]
    "Whether the home of a room wants other nodes to serve further participants."
    relay: Callable[[str, bytes], bytes]
    "Answers a message of the relay of another node. Raises ValueError and RemoteError."


def charged_connection(request: web.Request) -> HeadDeadlineProtocol | None:
    """The connection whose loop budget a request is charged to; None: a request of another node is not charged."""
    connection = connection_of(request)
    return None if isinstance(connection, NodeConnection) else connection


def announce_route(
    announce: Callable[[NodeInfo], Awaitable[PeerAnswer]],
) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    """Implements `Peers.announce` for the other nodes."""

    async def respond(request: web.Request) -> web.StreamResponse:
        if FORWARDED_CLIENT not in request:
            raise web.HTTPNotFound
        try:
            node = decode_node(await request.read())
        except ValueError:
            raise BadRequest("The announcement is malformed.") from None
        answer = await announce(node)
        return web.Response(status={PeerAnswer.RENEWED: 204, PeerAnswer.NO_DIRECTORY: 503}.get(answer, 404))

    return respond


def continue_route(
    continue_room: Callable[[ContinueRoom], Awaitable[None]],
) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    """Implements `Target.continue_room` for the other nodes."""

    async def respond(request: web.Request) -> web.StreamResponse:
        if FORWARDED_CLIENT not in request:
            raise web.HTTPNotFound
        try:
            asked = msgspec.msgpack.decode(await request.read(), type=ContinueRoom)
        except msgspec.DecodeError:
            raise BadRequest("The request is malformed.") from None
        await continue_room(asked)
        return web.Response(status=204)

    return respond


def edges_route(asks_for_edges: Callable[[str], bool]) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    """Answers `NodeClient.asks_for_edges`."""

    async def respond(request: web.Request) -> web.StreamResponse:
        if FORWARDED_CLIENT not in request or not asks_for_edges(request.query.get("room", "")):
            raise web.HTTPNotFound
        return web.Response()

    return respond


def relay_route(
    relay: Callable[[str, bytes], bytes],
) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    """Takes the messages of `NodeClient.relay`."""

    async def respond(request: web.Request) -> web.StreamResponse:
        if FORWARDED_CLIENT not in request:
            raise web.HTTPNotFound
        try:
            answer = relay(request.headers[NODE_HEADER], await request.read())
        except ValueError:
            raise BadRequest("The message is malformed.") from None
        return web.Response(body=answer, content_type="application/msgpack")

    return respond


def node_middleware(authentication: NodeAuthentication) -> Middleware:
    """Accepts signed requests only on connections of the internal listener. Other connections are not affected."""

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        connection = connection_of(request)
        if not isinstance(connection, NodeConnection):
            return await handler(request)
        try:
            async with asyncio.timeout(BODY_TIMEOUT):
                body = await request.read() if request.body_exists else b""
            authentication.verify(request.method, request.rel_url.raw_path_qs, request.headers, body)
        except NotAuthorized as error:
            return problem_of(error)
        # Its clients were charged by the node that they have connected to.
        connection.budget = LoopBudget(1.0, 1.0, time.monotonic())
        request[FORWARDED_CLIENT] = request.headers.get(CLIENT_HEADER, "")
        return await handler(request)

    return middleware


class NodeSite(web.BaseSite):
    """Listens on `host:port` or `unix:/path`."""

    def __init__(self, runner: web.AppRunner, settings: Settings, address: str) -> None:
        super().__init__(runner)
        self._address = address
        self._seconds = settings.request_header_timeout
        self.connections = NodeConnectionLimiter(settings)
        self._servers: list[asyncio.Server] = []

    @property
    def name(self) -> str:
        return self._address if self._address.startswith(UNIX) else f"http://{self._address}"

    async def start(self) -> None:
        """Raises ConfigurationError."""
        await super().start()
        inner = self._runner.server
        assert inner is not None
        budget, turns = make_unauthenticated_budget(), ReadScheduler()
        buffer = memoryview(bytearray(READ_BYTES))

        def make() -> NodeConnection:
            return NodeConnection(inner, self._seconds, self.connections, buffer, budget, turns)

        loop = asyncio.get_running_loop()
        try:
            if self._address.startswith(UNIX):
                path = self._address.removeprefix(UNIX)
                with suppress(FileNotFoundError):
                    os.unlink(path)
                self._servers.append(await loop.create_unix_server(make, path))
                os.chmod(path, 0o600)
            else:
                host, _, port = self._address.rpartition(":")
                self._servers.append(await loop.create_server(make, host.strip("[]"), int(port)))
        except OSError as error:
            await super().stop()
            raise ConfigurationError(
                f"cluster.listen {self._address}: cannot listen: {error.strerror or error}."
            ) from None

    async def stop(self) -> None:
        for server in self._servers:
            server.close()
        await super().stop()
