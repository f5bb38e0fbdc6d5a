"""Protocols between a TCP connection and aiohttp's protocol: refused connections, and a timeout for request heads.

aiohttp waits for a request head as long as its keep-alive timeout (over an hour by default), so a client that sends one
byte per minute can occupy a connection (Slowloris attack). `HeadDeadlineProtocol` closes connections whose head is late.
"""

import asyncio
import random
import time
from collections.abc import Callable
from typing import cast

from sfu.api.connection_limiter import MAX_PENDING_REFUSALS, ConnectionLimiter, refusal_response
from sfu.api.loop_time import ReadScheduler
from sfu.forwarding.loop_budget import LoopBudget

READ_BYTES = 4096
"""Bytes read from a connection per loop iteration. Larger reads block the loop longer and save little, because bodies and
messages are at most 64 KiB."""
REFUSED_TIMEOUT = 1.0
"""Seconds that a refused connection has to send its request and receive the error response."""


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
    request until its head is complete. `server.head_complete_middleware` stops it; it finds this object through the transport.
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
