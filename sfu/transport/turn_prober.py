"""Probes the TURN servers, so that clients get only those that work.

Each server gets a STUN Binding request twice a second over the transport of its URL, without retransmission, and a trial
allocation with credentials like a client's every half minute. `TurnHealth` judges the results. RFC 8489, RFC 8656.
"""

import asyncio
import logging
import secrets
import time
from collections.abc import Callable, Sequence
from typing import Final

from aioice import stun, turn

from sfu.auth.turn import Credentials
from sfu.auth.turn_health import Server, TurnHealth, TurnState, TurnStatus, parse_url

log = logging.getLogger(__name__)

PROBE_INTERVAL: Final = 0.5
"""Seconds between two probes of a server."""
PROBE_TIMEOUT: Final = 1.0
"""Seconds after which a probe is lost. Answers after `SLOW_LATENCY` are late."""
ALLOCATION_INTERVAL: Final = 30.0
"""Seconds between two trial allocations on a server."""
CONNECT_TIMEOUT: Final = 5.0
"""Seconds for name resolution, TCP and TLS, and for an allocation."""
MESSAGE_LIMIT: Final = 1500
"""Bytes of a STUN message that a stream may carry."""


class AllocationRefused(Exception):
    """The TURN server refuses an allocation; the message says why."""


class _Answers:
    """Matches answers with their requests by the transaction id."""

    def __init__(self) -> None:
        self.waiting: dict[bytes, asyncio.Future[None]] = {}
        self.lost = ""
        "Why the transport is lost; empty: it is not."

    def received(self, message: bytes) -> None:
        if len(message) >= 20:
            waiter = self.waiting.pop(bytes(message[8:20]), None)
            if waiter is not None and not waiter.done():
                waiter.set_result(None)

    def fail(self, reason: str) -> None:
        self.lost = reason
        waiting, self.waiting = self.waiting, {}
        for waiter in waiting.values():
            if not waiter.done():
                waiter.set_exception(ConnectionError(reason))


class _DatagramAnswers(_Answers, asyncio.DatagramProtocol):
    def datagram_received(self, data: bytes, addr: object) -> None:
        self.received(data)

    def error_received(self, exc: Exception) -> None:
        self.fail(str(exc))

    def connection_lost(self, exc: Exception | None) -> None:
        self.fail(str(exc or "closed"))


class _StreamAnswers(_Answers, asyncio.Protocol):
    """STUN messages on a stream follow each other without framing (RFC 8489 6.2.2)."""

    def __init__(self) -> None:
        super().__init__()
        self._buffer = bytearray()
        self._transport: asyncio.BaseTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer
        buffer += data
        while len(buffer) >= 20:
            length = 20 + int.from_bytes(buffer[2:4], "big")
            if length > MESSAGE_LIMIT:
                if self._transport is not None:
                    self._transport.close()
                self.fail("the server does not speak STUN")
                return
            if len(buffer) < length:
                return
            self.received(bytes(buffer[:length]))
            del buffer[:length]

    def connection_lost(self, exc: Exception | None) -> None:
        self.fail(str(exc or "the server closed the connection"))


class _Probe:
    """A kept transport to one server; opens again after a loss."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._transport: asyncio.DatagramTransport | asyncio.Transport | None = None
        self._send: Callable[[bytes], None] | None = None
        self._answers: _Answers | None = None

    async def measure(self) -> float:
        """Seconds until the answer. Raises OSError or TimeoutError."""
        if self._answers is None or self._answers.lost:
            self.close()
            async with asyncio.timeout(CONNECT_TIMEOUT):
                await self._open()
        answers = self._answers
        assert answers is not None
        request = stun.Message(message_method=stun.Method.BINDING, message_class=stun.Class.REQUEST)
        waiter = answers.waiting[request.transaction_id] = asyncio.get_running_loop().create_future()
        sent_at = time.monotonic()
        try:
            if self._send is not None:
                self._send(bytes(request))
            async with asyncio.timeout(PROBE_TIMEOUT):
                await waiter
        finally:
            answers.waiting.pop(request.transaction_id, None)
        return time.monotonic() - sent_at

    async def _open(self) -> None:
        loop, server = asyncio.get_running_loop(), self._server
        if server.transport == "udp":
            datagrams, self._answers = await loop.create_datagram_endpoint(
                _DatagramAnswers, remote_addr=(server.host, server.port)
            )
            self._transport, self._send = datagrams, datagrams.sendto
        else:
            stream, self._answers = await loop.create_connection(
                _StreamAnswers, server.host, server.port, ssl=server.tls or None
            )
            self._transport, self._send = stream, stream.write

    def close(self) -> None:
        transport, self._transport, self._send, self._answers = self._transport, None, None, None
        if transport is not None:
            transport.abort()


async def allocate(server: Server, credentials: Credentials) -> str:
    """Allocates a relay and releases it. Returns the relayed IP address. Raises OSError, TimeoutError or AllocationRefused."""
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT):
            transport, _ = await turn.create_turn_endpoint(
                asyncio.DatagramProtocol,
                server_addr=(server.host, server.port),
                username=credentials.username,
                password=credentials.password,
                ssl=server.tls,
                transport=server.transport,
            )
    except stun.TransactionFailed as error:
        code, text = error.response.attributes.get("ERROR-CODE", ("an error", ""))
        raise AllocationRefused(f"{code} {text}".strip()) from error
    except stun.TransactionTimeout as error:
        raise TimeoutError from error
    except OSError:  # SSLCertVerificationError is a ValueError as well
        raise
    except ValueError as error:  # aioice parses the answer
        raise AllocationRefused("the answer is not valid STUN") from error
    relayed = transport.get_extra_info("sockname")
    transport.close()
    await asyncio.sleep(0.1)  # lets the release of the allocation be sent
    return str(relayed[0]) if relayed else ""


class TurnProber:
    """Probes all servers of `turn.urls` and knows their state."""

    def __init__(
        self,
        urls: Sequence[str],
        credentials: Callable[[], Credentials],
        changed: Callable[[frozenset[str]], None],
        refresh_interval: float,
    ) -> None:
        """`credentials`: new ones for a trial allocation. `changed`: called when clients should get other servers, with the
        IP addresses of relays that have just failed; and every `refresh_interval` seconds, because credentials expire.
        Raises ConfigurationError."""
        self._credentials = credentials
        self._changed = changed
        self._refresh_interval = refresh_interval
        now = time.monotonic()
        self._servers = [parse_url(url) for url in urls if url.startswith(("turn:", "turns:"))]
        self._health = {server.url: TurnHealth(server.url, now) for server in self._servers}
        self.relayed: dict[str, str] = {}
        "Relayed address of each URL, from the last allocation."

    def statuses(self) -> list[TurnStatus]:
        return [health.status() for health in self._health.values()]

    def states(self) -> dict[str, TurnState]:
        return {url: health.state for url, health in self._health.items()}

    async def run(self) -> None:
        """Probes until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for server in self._servers:
                tasks.create_task(self._probe(server))
                tasks.create_task(self._allocate(server))
            if self._servers:
                tasks.create_task(self._refresh())

    async def _probe(self, server: Server) -> None:
        health, probe = self._health[server.url], _Probe(server)
        # Spreads the probes of several nodes and servers.
        await asyncio.sleep(secrets.randbelow(1000) / 1000 * PROBE_INTERVAL)
        try:
            while True:
                began = time.monotonic()
                try:
                    latency = await probe.measure()
                except TimeoutError:
                    changed = health.probe_lost(time.monotonic(), "no answer")
                except OSError as error:
                    changed = health.probe_lost(time.monotonic(), str(error) or type(error).__name__)
                else:
                    changed = health.probe_answered(time.monotonic(), latency)
                self._apply(health, changed=changed)
                await asyncio.sleep(max(0.0, began + PROBE_INTERVAL - time.monotonic()))
        finally:
            probe.close()

    async def _allocate(self, server: Server) -> None:
        health = self._health[server.url]
        while True:
            try:
                self.relayed[server.url] = await allocate(server, self._credentials())
            except AllocationRefused as error:
                changed = health.allocation_failed(time.monotonic(), f"it refuses an allocation: {error}")
            except (OSError, TimeoutError):
                changed = False  # the probes judge reachability
            else:
                changed = health.allocated(time.monotonic())
            self._apply(health, changed=changed)
            await asyncio.sleep(ALLOCATION_INTERVAL)

    async def _refresh(self) -> None:
        while True:
            await asyncio.sleep(self._refresh_interval)
            self._changed(frozenset())

    def _apply(self, health: TurnHealth, *, changed: bool) -> None:
        if not changed:
            return
        status = health.status()
        log.log(
            logging.INFO if status.state is TurnState.HEALTHY else logging.WARNING,
            "TURN server changed its state",
            extra={"url": status.url, "state": status.state.value, "reason": status.reason},
        )
        usable = {self.relayed.get(url) for url, state in self.states().items() if state is not TurnState.FAILED}
        failed = {self.relayed.get(health.url, "")} if status.state is TurnState.FAILED and usable else set()
        self._changed(frozenset(failed - usable - {""}))
