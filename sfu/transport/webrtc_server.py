"""The part of a server that all connections share: port, engine, certificate, candidates and timers.

One timer drives the engine (NACK, TWCC, reports), handshakes and consent. An idle connection costs one comparison per
second.
"""

import asyncio
import gc
import importlib
import logging
import socket
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from sfu.errors import ConfigurationError
from sfu.forwarding.engine import Engine
from sfu.forwarding.packet_log import PacketLog
from sfu.forwarding.peer_transport import Address
from sfu.forwarding.rtcp_handler import IDLE_TICK, TICK, IngressLimits
from sfu.ids import PeerId
from sfu.resources.media_clock import ntp_time
from sfu.transport.connection import Connection, State
from sfu.transport.dtls import Identity
from sfu.transport.ice_transport import IceTransport
from sfu.transport.packet_log_file import PacketLogFile
from sfu.transport.settings import Settings
from sfu.transport.srtp import SrtpEncryptor
from sfu.transport.tcp_port import TcpPort, with_passive
from sfu.transport.udp import DatagramHandler, UdpPort

log = logging.getLogger(__name__)

CHECK_EVERY: Final = 1.0
HANDSHAKES_EVERY: Final = 0.1
HOST_PRIORITY: Final = 126 << 24
"""Type preference of host candidates (RFC 8445 5.1.2.1)."""


class WebRtcServer:
    """Built by app.py. `open` needs a running loop."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.identity = Identity()
        self._log_file = PacketLogFile(settings.packet_log, settings.packet_log_bytes) if settings.packet_log else None
        self.engine = Engine(
            SrtpEncryptor(),
            segments=settings.segmentation_offload,
            ingress=IngressLimits(settings.publish_packets_per_second, settings.publish_bits_per_second),
            clock=time.monotonic,
            packet_log=PacketLog(self._log_file.write) if self._log_file is not None else None,
        )
        self.port = UdpPort(settings, self.engine)
        self.tcp_port = TcpPort(settings, self.port, self.engine)
        self.candidates: tuple[tuple[str, int, int, str, str], ...] = ()
        self.node_addresses: tuple[tuple[str, int], ...] = ()
        """UDP addresses for other nodes: those of this machine, then the announced ones."""
        self.connections: set[Connection] = set()
        self.ticks: list[Callable[[float], None]] = []
        """Called with the time after each tick of the engine; layer selection uses it."""
        self.handshakes: Counter[str] = Counter()
        """Completed handshakes by result: connected, failed."""
        self.connect_times: deque[float] = deque(maxlen=256)
        """Seconds from the creation of a connection to its keys; telemetry drains it."""
        self._connecting: set[Connection] = set()
        self._watched: set[IceTransport] = set()
        """ICE transports whose address selection is undecided."""
        self._half_open: Counter[str] = Counter()
        self._hosts: dict[Connection, str] = {}
        self._peer_ids = 0
        self._timer: asyncio.Handle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._next_check = self._next_handshakes = 0.0

    def open(self) -> None:
        """Binds the port and starts the timer. Raises ConfigurationError."""
        self._loop = asyncio.get_running_loop()
        self.port.open(self._loop)
        self.tcp_port.open(self._loop)
        ports = (self.settings.tcp_port, self.settings.tcp_over_https_port)
        announced = _candidates(self.settings, self.port)
        own = _candidates(replace(self.settings, announce=()), self.port)
        self.node_addresses = tuple(dict.fromkeys((host, port) for host, port, *_ in (*own, *announced)))
        self.candidates = with_passive(announced, ports)
        if not self.candidates:
            raise ConfigurationError(
                "No address to announce to clients: set rtc.announce, or rtc.include_loopback for clients on this machine."
            )
        self.port.wake = self._wake
        # Importing aiortc takes half a second. Import it here so that the first join does not stall the loop.
        threading.Thread(target=_load_channels, daemon=True).start()
        self._timer = self._loop.call_later(TICK, self._tick)

    def close(self) -> None:
        """Closes every connection, then the port."""
        for connection in list(self.connections):
            connection.close()
        if self._timer is not None:
            self._timer.cancel()
        self.tcp_port.close()
        self.port.close()
        if self._log_file is not None:
            self._log_file.close()

    def next_peer_id(self) -> PeerId:
        self._peer_ids += 1
        return PeerId(self._peer_ids)

    def add(self, connection: Connection) -> None:
        self.connections.add(connection)
        self._connecting.add(connection)
        self.learn_ufrag(connection.ice.agent.ufrag, connection)

    def remove(self, connection: Connection, was: State) -> None:
        self.connections.discard(connection)
        self._connecting.discard(connection)
        self._watched.discard(connection.ice)
        for ufrag in connection.ice.agent.ufrags:
            self.forget_ufrag(ufrag)
        if was is not State.CONNECTED:
            self.handshakes["failed"] += 1
        self._leave_half_open(connection)

    def learn_ufrag(self, ufrag: str, handler: DatagramHandler) -> None:
        self.port.by_ufrag[ufrag] = handler

    def forget_ufrag(self, ufrag: str) -> None:
        self.port.by_ufrag.pop(ufrag, None)

    def release(self, address: Address) -> None:
        """Closes the TCP connection of this address, if it is one."""
        self.tcp_port.release(address)

    def watch(self, ice: IceTransport) -> None:
        """Calls `ice.watched` ten times a second until it returns False."""
        self._watched.add(ice)

    def admit_handshake(self, connection: Connection, host: str) -> bool:
        """Whether another handshake from this IP address may start (a cap per address, as RFC 6347 4.2.1 intends)."""
        if self._half_open[host] >= self.settings.half_open_per_address:
            self.port.dropped["half_open_limit"] += 1
            return False
        self._half_open[host] += 1
        self._hosts[connection] = host
        return True

    def handshake_done(self, connection: Connection) -> None:
        self.handshakes["connected"] += 1
        self.connect_times.append(time.monotonic() - connection.created_at)
        self._connecting.discard(connection)
        self._leave_half_open(connection)

    def _look_at(self, ice: IceTransport, now: float) -> None:
        if not ice.watched(now):
            self._watched.discard(ice)

    def _leave_half_open(self, connection: Connection) -> None:
        host = self._hosts.pop(connection, None)
        if host is not None:
            self._half_open[host] -= 1
            if self._half_open[host] <= 0:
                del self._half_open[host]

    def _wake(self) -> None:
        if self._timer is not None and self._loop is not None:
            self._timer.cancel()
            self._timer = self._loop.call_soon(self._tick)

    def _tick(self) -> None:
        assert self._loop is not None
        now = time.monotonic()
        busy = True
        try:
            busy = self.engine.handle_timer(now, ntp_time(now))
        except Exception:
            log.exception("media timer failed")
        self.port.timers_idle = not busy
        pause = TICK if busy else HANDSHAKES_EVERY if self._connecting or self._watched else IDLE_TICK
        self._timer = self._loop.call_later(pause, self._tick)
        if now >= self._next_handshakes:
            self._next_handshakes = now + HANDSHAKES_EVERY
            for connection in list(self._connecting):
                _guarded(connection.handle_timer, now)
            for ice in list(self._watched):
                _guarded(self._look_at, ice, now)
            _guarded(self.tcp_port.limit_unsent, now)
        if now >= self._next_check:
            self._next_check = now + CHECK_EVERY
            for connection in list(self.connections):
                _guarded(connection.handle_timer, now)
            _guarded(self.tcp_port.handle_timer, now)
        for tick in self.ticks:
            _guarded(tick, now)


def _load_channels() -> None:
    importlib.import_module("sfu.transport.data_channels")
    gc.freeze()  # modules are permanent: exclude them from garbage collection


def _guarded(step: Callable[..., None], *arguments: object) -> None:
    """Runs a step of the media timer: a fault of one connection must not stop the others."""
    try:
        step(*arguments)
    except Exception:
        log.exception("media timer failed")


def _candidates(settings: Settings, port: UdpPort) -> tuple[tuple[str, int, int, str, str], ...]:
    """Host candidates: the announced addresses, or the machine's own addresses of the bound families."""
    found: list[tuple[str, int]] = []
    if settings.announce:
        found += [_announced(entry, port.port) for entry in settings.announce]
    else:
        for opened in port.sockets:
            host = opened.sock.getsockname()[0]
            if host in ("0.0.0.0", "::"):
                hosts = _own_addresses(opened.sock.family, loopback=settings.include_loopback)
            else:
                hosts = [host]
            found += [(each, opened.port) for each in hosts]
    out = []
    for index, (host, number) in enumerate(dict.fromkeys(found)):
        preference = 65_535 - index
        out.append((host, number, HOST_PRIORITY | preference << 8 | 255, str(index + 1), "udp"))
    return tuple(out)


def announced(settings: Settings) -> list[tuple[str, int]]:
    """The addresses that a server with these settings announces on this machine. Raises ConfigurationError."""
    if settings.announce:
        return [_announced(entry, settings.udp_port) for entry in settings.announce]
    found: list[str] = []
    for host in settings.bind:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        wildcard = host in ("0.0.0.0", "::")
        found += _own_addresses(family, loopback=settings.include_loopback) if wildcard else [host]
    return [(host, settings.udp_port) for host in found]


def _announced(entry: str, port: int) -> tuple[str, int]:
    host, number = entry, port
    if entry.startswith("["):
        host, closed, rest = entry[1:].partition("]")
        host = host if closed else entry
        if rest.startswith(":"):
            number = _number(rest[1:], entry)
    elif entry.count(":") == 1:
        host, _, rest = entry.partition(":")
        number = _number(rest, entry)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        socket.inet_pton(family, host)
    except OSError:
        raise ConfigurationError(f"rtc.announce: {entry!r} is not an IP address (nor ADDRESS:PORT).") from None
    return host, number


def _number(text: str, entry: str) -> int:
    if text.isdigit() and 0 < int(text) < 65_536:
        return int(text)
    raise ConfigurationError(f"rtc.announce: {entry!r} has no port number after the colon.")


def _own_addresses(family: socket.AddressFamily, *, loopback: bool) -> list[str]:
    """The source address of packets to the Internet (no packet is sent), and loopback on request."""
    probe = ("192.0.2.1", 9) if family == socket.AF_INET else ("2001:db8::1", 9)
    hosts = []
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        try:
            sock.connect(probe)
            hosts.append(str(sock.getsockname()[0]))
        except OSError:
            pass  # no route: the machine has no network
    if loopback:
        hosts.append("127.0.0.1" if family == socket.AF_INET else "::1")
    return hosts
