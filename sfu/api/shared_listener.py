"""A listening socket for HTTP and ICE-TCP on one port, for networks that pass TCP 443 only.

The first byte of a connection tells them apart: ICE-TCP begins with the length of a STUN message (RFC 4571), TLS with 22, HTTP
with a letter. The byte stays in the kernel's buffer, so that either protocol reads its connection from the start. A connection
without a first byte is closed after the timeout of request heads.
"""

import asyncio
import errno
import logging
import socket
import ssl
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Final

from sfu.forwarding.loop_budget import LoopBudget
from sfu.transport.framing import first_bytes_match

log = logging.getLogger("sfu.api")

ACCEPTS: Final = 64
"""Connections accepted per turn of the loop."""
WAITING_LIMIT: Final = 1_024
"""Connections without a first byte; beyond it, the oldest is closed."""
ACCEPT_PAUSE: Final = 0.5
"""Seconds without accepting after file descriptors ran out."""

AcceptSocket = Callable[[socket.socket], None]
ServeSocket = Callable[[socket.socket], Awaitable[object]]


class SharedListener:
    """Accepts connections until `close`, and hands each to `ice_tcp` or `serve`, which take over the socket."""

    def __init__(
        self, sock: socket.socket, ice_tcp: AcceptSocket, serve: ServeSocket, timeout: float, budget: LoopBudget
    ) -> None:
        """`sock`: listening, non-blocking. `timeout`: seconds until the first byte. `budget`: of unauthenticated input."""
        self.dropped: Counter[str] = Counter()
        """Connections closed without a first byte, by reason: `late`, `limit`."""
        self._sock = sock
        self._ice_tcp = ice_tcp
        self._serve = serve
        self._timeout = timeout
        self._budget = budget
        self._loop = asyncio.get_running_loop()
        self._waiting: dict[socket.socket, asyncio.TimerHandle] = {}
        """In the order of their start."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._paused: asyncio.TimerHandle | None = None
        self._accept_again()

    def close(self) -> None:
        """Stops to accept. Connections that were handed over stay."""
        if self._paused is not None:
            self._paused.cancel()
        self._loop.remove_reader(self._sock.fileno())
        self._sock.close()
        for sock in list(self._waiting):
            self._stop_waiting(sock)
            sock.close()
        for task in self._tasks:
            task.cancel()

    def _accept_again(self) -> None:
        self._paused = None
        self._loop.add_reader(self._sock.fileno(), self._acceptable)

    def _acceptable(self) -> None:
        now = time.monotonic()
        delay = self._budget.delay(now)
        try:
            for _ in range(0 if delay else ACCEPTS):
                sock, _ = self._sock.accept()
                self._wait(sock)
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            pass
        except OSError as error:
            if error.errno not in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                raise
            log.warning("no connection accepted", extra={"error": error.strerror})
            delay = ACCEPT_PAUSE
        if delay:
            self._loop.remove_reader(self._sock.fileno())
            self._paused = self._loop.call_later(delay, self._accept_again)
        else:
            self._budget.charge_elapsed(time.monotonic() - now, now)

    def _wait(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        if len(self._waiting) >= WAITING_LIMIT:
            self._drop(next(iter(self._waiting)), "limit")
        self._waiting[sock] = self._loop.call_later(self._timeout, self._drop, sock, "late")
        self._loop.add_reader(sock.fileno(), self._readable, sock)

    def _stop_waiting(self, sock: socket.socket) -> None:
        self._waiting.pop(sock).cancel()
        self._loop.remove_reader(sock.fileno())

    def _drop(self, sock: socket.socket, reason: str) -> None:
        self.dropped[reason] += 1
        self._stop_waiting(sock)
        sock.close()

    def _readable(self, sock: socket.socket) -> None:
        try:
            first = sock.recv(1, socket.MSG_PEEK)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            first = b""
        self._stop_waiting(sock)
        if not first:
            sock.close()
        elif first_bytes_match(first):
            self._ice_tcp(sock)
        else:
            task = self._loop.create_task(self._serve_http(sock))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _serve_http(self, sock: socket.socket) -> None:
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await self._serve(sock)
        except (OSError, ssl.SSLError, TimeoutError):  # the TLS handshake failed
            sock.close()


def bind(address: str, port: int, backlog: int) -> socket.socket:
    """A listening socket as `loop.create_server` makes it. Raises OSError."""
    found = socket.getaddrinfo(address, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    family = found[0]
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(found[4])
        sock.listen(backlog)
        sock.setblocking(False)
    except OSError:
        sock.close()
        raise
    return sock
