"""The ICE-TCP port (RFC 6544): passive host candidates beside the UDP port, for clients whose network blocks UDP.

The datagrams of a TCP connection are handled as those of the UDP port (udp.py): the same demultiplexing, checks, budgets and
counters. Its address, (host, port, "tcp"), differs from every UDP address, so that both fit in one table. Connections come from
the listening sockets of `rtc.tcp_port` and, with `rtc.tcp_over_https_port`, from the HTTP listener.

A connection without a valid connectivity check is closed after `CHECK_TIMEOUT`, after a frame that is not STUN, and, oldest
first, when there are too many. An authenticated one lives as long as its candidate pair.
"""

import asyncio
import errno
import logging
import socket
import sys
import time
from collections import Counter
from typing import Final

from sfu.errors import ConfigurationError
from sfu.forwarding.engine import Engine
from sfu.forwarding.loop_budget import LoopBudget
from sfu.forwarding.peer_transport import Address, TcpAddress
from sfu.transport.settings import Settings
from sfu.transport.tcp_connection import BUFFER_BYTES, BUFFER_SIZE, TcpConnection
from sfu.transport.udp import UdpPort

log = logging.getLogger(__name__)

BACKLOG: Final = 128
ACCEPTS: Final = 32
"""Connections accepted per turn of the loop."""
CHECK_TIMEOUT: Final = 5.0
"""Seconds from the start of a connection to its first valid connectivity check."""
UNAUTHENTICATED_LIMIT: Final = 512
"""Connections without a valid check, of all addresses."""
ACCEPT_PAUSE: Final = 0.5
"""Seconds without accepting after file descriptors ran out."""
TCP_PREFERENCE: Final = 90 << 24
"""Type preference of TCP candidates, below all UDP candidates (RFC 6544 4.2)."""
PASSIVE_PREFERENCE: Final = 4 << 13
"""Direction preference of passive candidates (RFC 6544 4.2)."""


class TcpPort:
    """Listens on `rtc.tcp_port` and owns all ICE-TCP connections."""

    def __init__(self, settings: Settings, udp_port: UdpPort, engine: Engine) -> None:
        self.connections: dict[TcpAddress, TcpConnection] = {}
        self.dropped: Counter[str] = udp_port.dropped
        self.buffer = memoryview(bytearray(BUFFER_SIZE))
        self.accepted = 0
        self.media_dropped = 0
        """Packets dropped because peers read too slowly, of closed connections."""
        self._settings = settings
        self._udp_port = udp_port
        self._engine = engine
        self._unauthenticated: dict[TcpAddress, TcpConnection] = {}
        """In the order of their start."""
        self._by_host: Counter[str] = Counter()
        """Connections without a valid check by IP address."""
        self._sockets: list[socket.socket] = []
        self._loop: asyncio.AbstractEventLoop | None = None

    def open(self, loop: asyncio.AbstractEventLoop) -> None:
        """Binds the listening sockets, if `rtc.tcp_port` is set. Raises ConfigurationError."""
        self._loop = loop
        port = self._settings.tcp_port
        if not port:
            return
        for opened in self._udp_port.sockets:
            host, family = opened.sock.getsockname()[0], opened.sock.family
            try:
                self._sockets.append(_listen(host, port, family))
            except OSError as error:
                self.close()
                raise ConfigurationError(
                    f"rtc.tcp_port: cannot listen on {host} port {port}: {error.strerror}; choose another port, or 0 for none."
                ) from error
        self._accept_again()

    def close(self) -> None:
        for connection in list(self.connections.values()):
            connection.close()
        for sock in self._sockets:
            if self._loop is not None:
                self._loop.remove_reader(sock.fileno())
            sock.close()
        self._sockets.clear()

    # -- connections ------------------------------------------------------------------------------------------------

    def accept(self, sock: socket.socket) -> None:
        """Takes over a connected socket whose first bytes may be ICE-TCP."""
        try:
            peer = sock.getpeername()
        except OSError:  # it ended already
            sock.close()
            return
        address: TcpAddress = (str(peer[0]), int(peer[1]), "tcp")
        host = address[0]
        if address in self.connections or self._by_host[host] >= self._settings.half_open_per_address:
            self.dropped["tcp_limit"] += 1
            sock.close()
            return
        if len(self._unauthenticated) >= UNAUTHENTICATED_LIMIT:
            self.dropped["tcp_limit"] += 1
            next(iter(self._unauthenticated.values())).close()
        assert self._loop is not None
        try:
            connection = TcpConnection(sock, address, self, self._loop)
        except OSError:
            sock.close()
            return
        self.accepted += 1
        self.connections[address] = self._unauthenticated[address] = connection
        self._by_host[host] += 1

    def handle_timer(self, now: float) -> None:
        """Closes connections whose first valid check is late. Call it once a second."""
        for connection in list(self._unauthenticated.values()):
            if now - connection.opened_at < CHECK_TIMEOUT:
                break
            self.dropped["tcp_late_check"] += 1
            connection.close()

    def limit_unsent(self, now: float) -> None:
        """Limits the send buffers. Call it ten times a second."""
        if sys.platform == "linux":
            for connection in self.connections.values():
                if connection.authenticated:
                    connection.limit_unsent(now)

    def release(self, address: Address) -> None:
        """The candidate pair of this address ended: closes its connection."""
        connection = self.connections.get(address) if len(address) == 3 else None
        if connection is not None:
            connection.close()

    def _listening(self, sock: socket.socket) -> None:
        began = time.monotonic()
        assert self._loop is not None
        budget = self._udp_port.unauthenticated_budget
        delay = budget.delay(began)
        try:
            for _ in range(0 if delay else ACCEPTS):
                connected, _ = sock.accept()
                self.accept(connected)
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            pass
        except OSError as error:
            if error.errno not in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                raise
            log.warning("no ICE-TCP connection accepted", extra={"error": error.strerror})
            delay = ACCEPT_PAUSE
        if delay:
            for each in self._sockets:
                self._loop.remove_reader(each.fileno())
            self._loop.call_later(delay, self._accept_again)
        else:
            budget.charge_elapsed(time.monotonic() - began, began)

    def _accept_again(self) -> None:
        assert self._loop is not None
        for sock in self._sockets:
            self._loop.add_reader(sock.fileno(), self._listening, sock)

    # -- the connections' side --------------------------------------------------------------------------------------

    def take(self, connection: TcpConnection, datagram: memoryview, now: float) -> None:
        self._udp_port.take_copy(connection, datagram, connection.address, now)

    def flush(self, now: float) -> None:
        self._engine.flush(now)
        self._udp_port.resume_timers()

    def authenticate(self, connection: TcpConnection) -> None:
        """Lifts the limits of unauthenticated connections once a valid check came."""
        if connection.address in self._udp_port.by_address:
            connection.authenticated = True
            self._forget_unauthenticated(connection)

    def budget_of(self, connection: TcpConnection) -> LoopBudget:
        handler = self._udp_port.by_address.get(connection.address)
        return handler.peer.budget if handler is not None else self._udp_port.unauthenticated_budget

    def connection_closed(self, connection: TcpConnection) -> None:
        self.connections.pop(connection.address, None)
        self.media_dropped += connection.dropped
        self._forget_unauthenticated(connection)
        handler = self._udp_port.by_address.get(connection.address)
        if handler is not None:
            handler.path_closed(connection.address)

    def _forget_unauthenticated(self, connection: TcpConnection) -> None:
        if self._unauthenticated.pop(connection.address, None) is not None:
            host = connection.address[0]
            self._by_host[host] -= 1
            if not self._by_host[host]:
                del self._by_host[host]


Candidate = tuple[str, int, int, str, str]
"""(address, port, priority, foundation, protocol), as in `LocalTransport`."""


def with_passive(candidates: tuple[Candidate, ...], ports: tuple[int, ...]) -> tuple[Candidate, ...]:
    """The UDP candidates, and for each of their addresses a passive TCP candidate per port; a port of 0 is none."""
    out = list(candidates)
    hosts = dict.fromkeys(candidate[0] for candidate in candidates)
    for port in dict.fromkeys(number for number in ports if number):
        for host in hosts:
            preference = PASSIVE_PREFERENCE | 0x1FFF - len(out)
            out.append((host, port, TCP_PREFERENCE | preference << 8 | 255, str(len(out) + 1), "tcp"))
    return tuple(out)


def _listen(host: str, port: int, family: int) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
        sock.bind((host, port))
        sock.listen(BACKLOG)
        sock.setblocking(False)
    except OSError:
        sock.close()
        raise
    return sock
