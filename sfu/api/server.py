"""The HTTP listener: addresses, TLS, connection limits, and a timeout for request heads, which aiohttp lacks.

aiohttp waits for a request head as long as its keep-alive timeout (over an hour by default), so a client that sends one
byte per minute can occupy a connection (Slowloris attack). The protocol in this module sits between the transport and
aiohttp's protocol and closes connections whose head is late. TLS handshakes have the same timeout.
"""

import asyncio
import contextlib
import logging
import os
import random
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.log import server_logger
from aiohttp.typedefs import Handler, Middleware

from sfu.api.connection_limiter import MAX_PENDING_REFUSALS, ConnectionLimiter, refusal_response
from sfu.api.loop_time import ReadScheduler
from sfu.api.settings import Settings
from sfu.errors import ConfigurationError, RateLimited
from sfu.forwarding.loop_budget import LoopBudget

log = logging.getLogger("sfu.api")

BACKLOG = 128
"""Maximum connections in the accept queue; the loop accepts all of them in one iteration, 15 µs each."""
READ_BYTES = 4096
"""Bytes read from a connection per loop iteration. Larger reads block the loop longer and save little, because bodies and
messages are at most 64 KiB."""
LINGER = 1.0
"""Seconds to read and discard the rest of a request body after the response."""
REFUSED_TIMEOUT = 1.0
"""Seconds that a refused connection has to send its request and receive the error response."""


class MalformedRequestFilter(logging.Filter):
    """Suppresses aiohttp's log records of malformed requests, which may contain tokens. These requests get 400."""

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        return not isinstance(error, HttpProcessingError)


class TlsContext:
    """The server's TLS context: TLS 1.2 and 1.3, forward secrecy and AEAD only."""

    def __init__(self, certificate: str, key: str) -> None:
        """Raises ConfigurationError."""
        self._paths = (certificate, key)
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        self.context.set_ciphers("ECDHE+AESGCM:ECDHE+CHACHA20")
        self.context.set_alpn_protocols(["http/1.1"])
        self.reload()

    async def renew_soon(self) -> None:
        """Reloads the certificate; for signal handlers. Reads the files in another thread, because the disk may block.

        Logs an error and keeps the old certificate if the new one is unusable.
        """
        try:
            self._use(await asyncio.to_thread(self._read))
        except ConfigurationError as error:
            log.error("certificate not renewed", extra={"reason": str(error)})
        else:
            log.info("certificate renewed")

    def reload(self) -> None:
        """Reloads the certificate for new connections. On ConfigurationError the old one stays in use."""
        self._use(self._read())

    def _read(self) -> tuple[bytes, bytes]:
        """Certificate chain and key. Raises ConfigurationError."""
        found = []
        for option, path in zip(("http.tls_certificate", "http.tls_key"), self._paths, strict=True):
            try:
                found.append(Path(path).read_bytes())
            except FileNotFoundError:
                raise ConfigurationError(f"{option} {path}: the file does not exist.") from None
            except OSError as error:
                raise ConfigurationError(f"{option} {path} cannot be read: {error.strerror}.") from None
        return found[0], found[1]

    def _use(self, files: tuple[bytes, bytes]) -> None:
        # Try a separate context first: a failure must not leave the new certificate with the old key.
        for context in (ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), self.context):
            try:
                with _in_memory(files[0]) as certificate, _in_memory(files[1]) as key:
                    context.load_cert_chain(certificate, key, password="")
            except (OSError, ValueError) as error:
                reason = (
                    getattr(error, "reason", None) or getattr(error, "strerror", None) or "the key has a passphrase"
                )
                raise ConfigurationError(
                    f"http.tls_certificate and http.tls_key cannot be used together: {reason}."
                ) from None


@contextmanager
def _in_memory(data: bytes) -> Iterator[str]:
    """A path of an in-memory file with `data`, because `load_cert_chain` accepts paths only."""
    file = os.memfd_create("aiosfu-tls")
    try:
        with os.fdopen(os.dup(file), "wb") as writing:
            writing.write(data)
        yield f"/proc/self/fd/{file}"
    finally:
        os.close(file)


class RefusedProtocol(asyncio.Protocol):
    """A refused connection: it gets an error response after its first bytes, without parsing, and is closed."""

    __slots__ = ("_answer", "_connections", "_timer", "_transport")

    def __init__(self, reason: str, connections: ConnectionLimiter) -> None:
        self._answer = refusal_response(reason)
        self._connections = connections
        self._transport: asyncio.BaseTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._connections.unanswered += 1
        patience = REFUSED_TIMEOUT if self._connections.unanswered <= MAX_PENDING_REFUSALS else 0.0
        self._timer = asyncio.get_running_loop().call_later(patience, _abort, transport)

    def data_received(self, data: bytes) -> None:
        # Not earlier: closing a socket with unread bytes sends a TCP reset, and the response may be lost.
        assert self._transport is not None
        if not self._transport.is_closing():
            cast("asyncio.Transport", self._transport).write(self._answer)
            self._transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        self._timer.cancel()
        self._connections.unanswered -= 1


class HeadDeadlineProtocol(asyncio.BufferedProtocol):
    """Forwards everything to aiohttp's protocol, and aborts the connection when a request head is late.

    It reads at most `READ_BYTES` per loop iteration, because aiohttp parses all data of a read at once: 256 KiB may contain
    40,000 body chunks, which take 20 ms.

    The timeout runs from the start of the connection until the first head is complete, and later from the first byte of a
    request until its head is complete. `head_complete_middleware` stops it; it finds this object through the transport.
    """

    __slots__ = (
        "_admitted",
        "_buffer",
        "_busy",
        "_connections",
        "_held",
        "_inner",
        "_loop",
        "_make",
        "_seconds",
        "_timer",
        "_transport",
        "_turns",
        "_unauthenticated_budget",
        "budget",
    )

    def __init__(
        self,
        make: Callable[[], asyncio.Protocol],
        seconds: float,
        connections: ConnectionLimiter,
        buffer: memoryview,
        unauthenticated_budget: LoopBudget,
        turns: ReadScheduler,
    ) -> None:
        """`make`: creates aiohttp's protocol for an admitted connection. `buffer`: shared; in use during one read only.

        `unauthenticated_budget`, `turns`: loop budget and read scheduler of connections without a valid token.
        """
        self.budget = self._unauthenticated_budget = unauthenticated_budget
        self._turns = turns
        self._make = make
        self._buffer = buffer
        self._inner: asyncio.Protocol
        self._seconds = seconds
        self._connections = connections
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.BaseTransport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._admitted: str | None = None
        self._busy = False
        self._held = b""
        "Data that was read and waits for the read scheduler."

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        peer = transport.get_extra_info("peername")
        address = str(peer[0]) if peer else ""
        reason = self._connections.enter(address)
        if reason:
            self._busy = True  # RefusedProtocol has its own timeout
            self._inner = RefusedProtocol(reason, self._connections)
        else:
            self._admitted = address
            self._arm()
            self._inner = self._make()
        self._inner.connection_made(transport)

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        if self._timer is None and not self._busy:
            self._arm()
        data = bytes(self._buffer[:nbytes])
        if self._held:
            self._held += data  # aiohttp has resumed reading
            self._pause()
        elif self.budget is self._unauthenticated_budget and self._turns.full:
            self._held = data
            self._pause()
            self._turns.defer(self._read_held)
        else:
            self._read(data)

    def _pause(self) -> None:
        transport = cast("asyncio.Transport", self._transport)
        if transport.is_reading():
            transport.pause_reading()

    def _read_held(self) -> None:
        data, self._held = self._held, b""
        if self._transport is not None and not self._transport.is_closing():
            self._read(data, paused=True)

    def _read(self, data: bytes, *, paused: bool = False) -> None:
        now = time.monotonic()
        self._inner.data_received(data)
        took = time.monotonic() - now
        self.budget.charge_elapsed(took, now)
        if self.budget is self._unauthenticated_budget:
            self._turns.spend(took)
        delay = self.budget.delay(now)
        transport = cast("asyncio.Transport", self._transport)
        # libuv reads up to 32 times per iteration while reads fill the buffer.
        if not paused and (len(data) == len(self._buffer) or delay) and transport.is_reading():
            transport.pause_reading()
            paused = True
        if paused:
            # Randomized, so that not all waiting connections are read in the same iteration.
            self._loop.call_later(delay * random.uniform(1.0, 2.0), self._read_on)

    def _read_on(self) -> None:
        transport, inner = self._transport, self._inner
        if transport is None or transport.is_closing():
            return
        # aiohttp's flow control may have paused reading meanwhile; then aiohttp resumes it.
        if not (getattr(inner, "_reading_paused", False) or getattr(inner, "_buffer_paused", False)):
            cast("asyncio.Transport", transport).resume_reading()

    def eof_received(self) -> bool | None:
        return self._inner.eof_received()

    def pause_writing(self) -> None:
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        self._inner.resume_writing()

    def connection_lost(self, error: Exception | None) -> None:
        self._disarm()
        if self._admitted is not None:
            self._connections.leave(self._admitted)
            self._admitted = None
        self._inner.connection_lost(error)

    def request_began(self) -> None:
        """Stops the timeout: the request head is complete."""
        self._busy = True
        self._disarm()

    def request_ended(self) -> None:
        self._busy = False

    def _arm(self) -> None:
        self._timer = self._loop.call_later(self._seconds, self._expire)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _expire(self) -> None:
        self._timer = None
        self._connections.refused["late_head"] += 1
        if self._transport is not None:
            _abort(self._transport)


def _abort(transport: asyncio.BaseTransport) -> None:
    # uvloop's transports are not instances of asyncio.Transport, but have its methods.
    cast("asyncio.Transport", transport).abort()


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
        self._servers: list[asyncio.Server] = []
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
        server = await asyncio.get_running_loop().create_server(
            lambda: HeadDeadlineProtocol(inner, seconds, self.connections, buffer, self._unauthenticated_budget, turns),
            address,
            self.port,
            ssl=self._ssl_context,
            backlog=BACKLOG,
            ssl_handshake_timeout=seconds if self._ssl_context else None,
        )
        self._servers.append(server)
        self.port = server.sockets[0].getsockname()[1]


async def listen(
    app: web.Application, settings: Settings, addresses: tuple[str, ...], tls: TlsContext | None = None
) -> tuple[web.AppRunner, Site]:
    """Starts to serve, until `cleanup` of the returned runner. Raises ConfigurationError."""
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
    try:
        await site.start()
    except ConfigurationError:
        with contextlib.suppress(asyncio.CancelledError):
            await runner.cleanup()
        raise
    return runner, site
