"""The HTTP listener: addresses and the middlewares that know a request's connection.

TLS handshakes have the same timeout as request heads (`http_protocol`).
"""

import asyncio
import contextlib
import logging
import socket
from collections.abc import Awaitable, Callable

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.log import server_logger
from aiohttp.typedefs import Handler, Middleware

from sfu.api.connection_limiter import ConnectionLimiter
from sfu.api.http_protocol import READ_BYTES, HeadDeadlineProtocol
from sfu.api.loop_time import ReadScheduler
from sfu.api.settings import Settings
from sfu.api.shared_listener import AcceptSocket, SharedListener, bind
from sfu.api.tls import TlsContext
from sfu.errors import ConfigurationError, RateLimited
from sfu.forwarding.loop_budget import LoopBudget

log = logging.getLogger("sfu.api")

BACKLOG = 128
"""Maximum connections in the accept queue; the loop accepts all of them in one iteration, 15 µs each."""
LINGER = 1.0
"""Seconds to read and discard the rest of a request body after the response."""


class MalformedRequestFilter(logging.Filter):
    """Suppresses aiohttp's log records of malformed requests, which may contain tokens. These requests get 400."""

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        return not isinstance(error, HttpProcessingError)


@web.middleware
async def head_complete_middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Stops the head timeout. Must be the outermost middleware; has no effect on servers without `Site`."""
    deadline = connection_of(request)
    if deadline is None:
        return await handler(request)
    deadline.request_began()
    try:
        return await handler(request)
    finally:
        deadline.request_ended()


def connection_of(request: web.Request) -> HeadDeadlineProtocol | None:
    """The connection of a request; None if `Site` did not create the server."""
    protocol = request.transport.get_protocol() if request.transport is not None else None
    return protocol if isinstance(protocol, HeadDeadlineProtocol) else None


UNAUTHENTICATED_BUDGET = web.AppKey("unauthenticated_budget", LoopBudget)
"""The loop budget of connections without a valid token."""
CONNECTION_LIMITER = web.AppKey("connections", ConnectionLimiter)
"""The application's limiter, shared by its metrics and its server."""


def client_limit_middleware(connections: ConnectionLimiter) -> Middleware:
    """Limits the concurrent requests of each client behind a trusted proxy."""

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        peer = request.remote or ""
        if not connections.is_proxy(peer):
            return await handler(request)  # already counted as a connection
        client = connections.addresses.client(peer, request.headers.items())
        if connections.addresses.trusts(client):
            return await handler(request)
        if connections.begin(client):
            raise RateLimited("Too many connections from your address.", code="too_many_connections")
        try:
            return await handler(request)
        finally:
            connections.end(client)

    return middleware


class Site(web.BaseSite):
    """Listens on several addresses with the same port."""

    def __init__(
        self,
        runner: web.AppRunner,
        settings: Settings,
        addresses: tuple[str, ...],
        tls: TlsContext | None,
        connections: ConnectionLimiter,
        unauthenticated_budget: LoopBudget,
    ) -> None:
        super().__init__(runner, ssl_context=tls.context if tls else None)
        self._settings = settings
        self.connections = connections
        self._unauthenticated_budget = unauthenticated_budget
        self._addresses = addresses
        self._servers: list[asyncio.Server | SharedListener] = []
        self.ice_tcp: AcceptSocket | None = None
        """Takes the ICE-TCP connections if they share the port with HTTP. Set it before `start`."""
        self.port = settings.port

    @property
    def name(self) -> str:
        scheme = "https" if self._ssl_context else "http"
        host = self._addresses[0]
        shown = "localhost" if host in ("127.0.0.1", "::1") else f"[{host}]" if ":" in host else host
        return f"{scheme}://{shown}:{self.port}"

    async def start(self) -> None:
        """Raises ConfigurationError if the first address is unavailable; others are optional (IPv6 may be missing)."""
        await super().start()
        for address in self._addresses:
            try:
                await self._listen(address)
            except OSError as error:
                if self._servers:
                    log.info("address skipped", extra={"address": address, "reason": error.strerror})
                    continue
                await super().stop()
                reason = error.strerror or error
                raise ConfigurationError(f"http: cannot listen on {address} port {self.port}: {reason}.") from None

    async def stop(self) -> None:
        for server in self._servers:
            server.close()
        await super().stop()

    async def _listen(self, address: str) -> None:
        inner = self._runner.server
        assert inner is not None
        seconds = self._settings.request_header_timeout
        buffer, turns = memoryview(bytearray(READ_BYTES)), ReadScheduler()
        loop, budget = asyncio.get_running_loop(), self._unauthenticated_budget

        def make() -> HeadDeadlineProtocol:
            return HeadDeadlineProtocol(inner, seconds, self.connections, buffer, budget, turns)

        handshake = seconds if self._ssl_context else None
        if self.ice_tcp is not None:

            def serve(sock: socket.socket) -> Awaitable[object]:
                return loop.connect_accepted_socket(make, sock, ssl=self._ssl_context, ssl_handshake_timeout=handshake)

            listening = bind(address, self.port, BACKLOG)
            self.port = listening.getsockname()[1]
            self._servers.append(SharedListener(listening, self.ice_tcp, serve, seconds, budget))
            return
        server = await loop.create_server(
            make,
            address,
            self.port,
            ssl=self._ssl_context,
            backlog=BACKLOG,
            ssl_handshake_timeout=handshake,
            reuse_port=self._settings.reuse_port,
        )
        self._servers.append(server)
        self.port = server.sockets[0].getsockname()[1]


async def listen(
    app: web.Application,
    settings: Settings,
    addresses: tuple[str, ...],
    tls: TlsContext | None = None,
    *,
    ice_tcp: AcceptSocket | None = None,
    before: Callable[[web.AppRunner], Awaitable[None]] | None = None,
) -> tuple[web.AppRunner, Site]:
    """Starts to serve, until `cleanup` of the returned runner. Raises ConfigurationError.

    `ice_tcp`: takes the ICE-TCP connections; None: the port is for HTTP only. `before`: runs when the application is ready,
    before clients connect.
    """
    if not any(isinstance(each, MalformedRequestFilter) for each in server_logger.filters):
        server_logger.addFilter(MalformedRequestFilter())
    runner = web.AppRunner(
        app,
        access_log=None,
        keepalive_timeout=settings.keepalive_timeout,
        tcp_keepalive=False,  # WebSockets have heartbeats, requests have timeouts
        shutdown_timeout=5.0,
        lingering_time=LINGER,
        auto_decompress=False,  # 50 KB of gzip may expand to 50 MB
        handle_signals=False,
    )
    await runner.setup()
    site = Site(runner, settings, addresses, tls, app[CONNECTION_LIMITER], app[UNAUTHENTICATED_BUDGET])
    site.ice_tcp = ice_tcp
    try:
        if before is not None:
            await before(runner)
        await site.start()
    except ConfigurationError:
        with contextlib.suppress(asyncio.CancelledError):
            await runner.cleanup()
        raise
    return runner, site
