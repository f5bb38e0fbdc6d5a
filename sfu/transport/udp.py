"""The media port: one UDP socket per address family, shared by all connections, read in batches and demultiplexed by address.

Datagrams are distinguished by their first byte (RFC 7983): STUN by user fragment, DTLS and media by the source address that
a valid STUN check has proven. Everything else is counted and dropped before it touches any state. The packet path is here and
in sfu.forwarding: no await, no task, no object per datagram. Where the C part is built (native.py), it handles the common
packets and calls back for all others.
"""

import asyncio
import errno
import logging
import socket
import struct
import sys
import time
from collections import Counter, deque
from collections.abc import Callable
from functools import partial
from typing import Final, Protocol

from sfu.errors import ConfigurationError, MalformedPacket
from sfu.forwarding.engine import Engine
from sfu.forwarding.fault_log import FaultLog
from sfu.forwarding.inbound import BatchReader
from sfu.forwarding.loop_budget import USUAL_PACKET, make_unauthenticated_budget
from sfu.forwarding.peer import EnginePeer
from sfu.forwarding.peer_transport import Address, DatagramSink
from sfu.resources.media_clock import ntp_time
from sfu.transport import stun
from sfu.transport.native import load
from sfu.transport.settings import Settings
from sfu.transport.srtp import SrtpDecryptor
from sfu.transport.udp_socket import UdpSocket as UdpSocket

log = logging.getLogger(__name__)

BATCH: Final = 64
LONGEST: Final = 1440
"""Bytes of a media datagram: the forwarded packet must fit an MTU of 1500 (libwebrtc sends 1200)."""
ROUNDS: Final = 8
"""Batches per turn of the loop, so that signalling also runs."""
LONG: Final = 500e-6
"""A batch that takes longer than these seconds is followed by another read at once: more is likely to be queued."""
SAMPLED: Final = 63
"""Mask: one turn in 64 is timed."""
IP_MTU_DISCOVER, IP_PMTUDISC_DO = 10, 2
_ssrc: Final = struct.Struct("!L").unpack_from


class DatagramHandler(Protocol):
    """A connection, as the port uses it."""

    peer: EnginePeer

    def check_received(
        self, request: stun.BindingRequest, data: memoryview, source: DatagramSink, address: Address, now: float
    ) -> bytes | None:
        """Handles a Binding request; returns the password of the response, or None."""

    def check_repeated(self, data: memoryview, source: DatagramSink, address: Address, now: float) -> bytes | None:
        """The response to a Binding request that repeats the last one; empty: handled without response; None: parse it."""

    def dtls_received(self, datagram: bytes) -> None: ...

    def packet_received(self, address: Address, now: float) -> None:
        """Records an authentic packet other than RTP from this address."""

    def yield_address(self, address: Address, now: float) -> bool:
        """Releases an address that another handler claims. False: this one keeps it."""

    def path_closed(self, address: Address) -> None:
        """The TCP connection of this address ended."""


class UdpPort:
    """All sockets of the media port and the table from addresses and user fragments to connections."""

    def __init__(self, settings: Settings, engine: Engine) -> None:
        self.engine = engine
        self.sockets: list[UdpSocket] = []
        self.by_address: dict[Address, DatagramHandler] = {}
        self._readers: dict[UdpSocket, BatchReader] = {}
        """The C part's reader of each socket, if there is a C part."""
        self.by_ufrag: dict[str, DatagramHandler] = {}
        self.dropped: Counter[str] = Counter()
        """Datagrams dropped by the port, by reason."""
        self.latencies: deque[float] = deque(maxlen=256)
        """Seconds from the first packet's arrival to the last send of sampled turns; telemetry drains it."""
        self.unauthenticated_budget = make_unauthenticated_budget()
        """Loop time of all unauthenticated input: datagrams here, requests and joins above."""
        self.timers_idle = False
        self.wake: Callable[[], None] = lambda: None
        """Called at the first media after `timers_idle` was set."""
        self._turns = 0
        self._faults = FaultLog(log, "datagram failed", self.dropped)
        self._decryptor = SrtpDecryptor()
        self._settings = settings
        self._native = load() if settings.native else None
        if self._native is not None:
            engine.set_fan_out(self._native.fan_out)
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def port(self) -> int:
        return self.sockets[0].port

    def open(self, loop: asyncio.AbstractEventLoop) -> None:
        """Binds the sockets. Raises ConfigurationError when no address of `rtc.bind` is available or the port is in use."""
        self._loop = loop
        port = self._settings.udp_port
        for host in self._settings.bind:
            try:
                sock = _bind(host, port, self._settings)
            except OSError as error:
                if error.errno == errno.EADDRINUSE:
                    self.close()
                    raise ConfigurationError(
                        f"rtc.udp_port {port} is in use; stop what uses it or choose another port."
                    ) from error
                log.warning("media address not available", extra={"address": host, "error": error.strerror})
                continue
            port = sock.getsockname()[1]
            opened = UdpSocket(sock, segments=self._settings.segmentation_offload and sys.platform == "linux")
            self.sockets.append(opened)
            if self._native is not None:
                self._readers[opened] = self._reader_of(opened)
            loop.add_reader(sock.fileno(), self._readable, opened)
        if not self.sockets:
            raise ConfigurationError("No address in rtc.bind is available on this machine; correct rtc.bind.")

    def close(self) -> None:
        for opened in self.sockets:
            if self._loop is not None:
                self._loop.remove_reader(opened.sock.fileno())
            opened.close()
        self.sockets.clear()

    def _readable(self, source: UdpSocket) -> None:
        for _ in range(ROUNDS):  # reading what arrived during the last batch saves a turn of the loop
            now = time.monotonic()
            received = 1
            try:
                received = self._drain(source, now) if self._native is None else self._drain_natively(source, now)
            except Exception:  # a fault affects only the datagram that caused it
                self._faults.record(now)
            if not received:
                break
            self.engine.flush(now)
            if received < BATCH and time.monotonic() - now < LONG:
                break
        self.resume_timers()
        self._turns += 1
        if not self._turns & SAMPLED:
            self.latencies.append(time.monotonic() - now)

    def resume_timers(self) -> None:
        """Call after each batch of media, also of a plain peer: the timers run fast again."""
        if self.timers_idle and self.engine.media_received:
            self.timers_idle = False
            self.wake()

    def _drain(self, source: UdpSocket, now: float) -> int:
        """Reads up to `BATCH` queued datagrams; returns their number."""
        count = 0
        view, recvfrom, take = self._decryptor.view, source.sock.recvfrom_into, self._take
        try:
            for count in range(BATCH):  # noqa: B007  (read when nothing more is queued)
                n, address = recvfrom(view)
                take(n, address, now, source)
        except (BlockingIOError, InterruptedError):
            return count
        except OSError:
            self.dropped["socket_error"] += 1  # an ICMP error of an earlier send
        return count + 1

    def _drain_natively(self, source: UdpSocket, now: float) -> int:
        """`_drain` in C, which calls `_take` for everything but media of known streams."""
        received, forged = 1, 0
        try:
            received, forged = self.engine.receive_batch(self._readers[source], now)
        except OSError:
            self.dropped["socket_error"] += 1  # an ICMP error of an earlier send
        if forged:
            self.dropped["srtp"] += forged
        return received

    def _reader_of(self, source: UdpSocket) -> BatchReader:
        """`_drain` in C, which calls `_take` for everything but media of known streams."""
        assert self._native is not None
        take = partial(self._take_guarded, source)
        return partial(self._native.drain, source.fd, BATCH, self.by_address, self._decryptor.view, take, self._receive)

    def _take_guarded(self, source: DatagramSink, n: int, address: Address, now: float) -> None:
        try:
            self._take(n, address, now, source)
        except Exception:
            self._faults.record(now)

    def take_copy(self, source: DatagramSink, datagram: memoryview, address: Address, now: float) -> None:
        """Handles a datagram of an ICE-TCP connection."""
        n = len(datagram)
        self._decryptor.view[:n] = datagram
        self._take_guarded(source, n, address, now)

    def _take(self, n: int, address: Address, now: float, source: DatagramSink) -> None:
        """Handles one datagram: `n` bytes in the decryptor's memory."""
        view = self._decryptor.view
        first = view[0]
        if n < 12:
            self.dropped["short"] += 1
        elif 127 < first < 192:
            handler = self.by_address.get(address)
            if handler is None:
                self.dropped["unknown_address"] += 1
            else:
                self._take_media(handler, n, address, now)
        elif first < 4:
            self._stun_received(view[:n], source, address, now)
        elif 19 < first < 64:
            handler = self.by_address.get(address)
            if handler is None:
                self.dropped["unknown_address"] += 1
            elif not handler.peer.budget.admits(now):
                self.dropped["loop_budget"] += 1  # SCTP treats it as loss: it retransmits and slows down
            else:
                handler.dtls_received(bytes(view[:n]))
        else:
            self.dropped["unknown_protocol"] += 1

    def _take_media(self, handler: DatagramHandler, n: int, address: Address, now: float) -> None:
        peer = handler.peer
        decryptor, dropped, context = self._decryptor, self.dropped, peer.rx
        view, length = decryptor.view, decryptor.length
        if context is None:
            dropped["before_keys"] += 1
            return
        if n > LONGEST:
            dropped["long"] += 1
            return
        length[0] = n
        if 191 < view[1] < 224:
            reporter = _ssrc(view, 4)[0]
            if peer.exceeds_reporter_limit(reporter):
                dropped["ssrc_limit"] += 1
            elif not peer.budget.admits(now):
                dropped["loop_budget"] += 1
            elif decryptor.unprotect_rtcp(context, decryptor.pointer, length):
                dropped["srtcp"] += 1
            else:
                peer.add_reporter(reporter)
                handler.packet_received(address, now)
                began = time.monotonic()
                self.engine.receive_rtcp(peer, bytes(view[: length[0]]), now, ntp_time(now))
                peer.budget.charge_elapsed(time.monotonic() - began, now)
        elif peer.flooding:
            dropped["ingress_rate" if peer.budget.admits(now) else "loop_budget"] += 1
            self.engine.count_refused(peer, n)
        elif (ssrc := _ssrc(view, 8)[0]) not in peer.streams and peer.exceeds_ssrc_limit(ssrc):
            dropped["ssrc_limit"] += 1
        elif decryptor.unprotect(context, decryptor.pointer, length):
            dropped["srtp"] += 1
        else:
            self._receive(peer, view, length[0], now)

    def _receive(self, peer: EnginePeer, view: memoryview, n: int, now: float) -> None:
        """Handles a decrypted packet that the C part does not support."""
        began = time.monotonic()
        self.engine.receive(peer, view, n, now)
        elapsed = time.monotonic() - began - USUAL_PACKET
        if elapsed > 0.0:
            peer.budget.charge_elapsed(elapsed, now)
        if not peer.budget.admits(now):
            self.engine.throttle(peer)

    def _stun_received(self, data: memoryview, source: DatagramSink, address: Address, now: float) -> None:
        began = time.monotonic()
        known = self.by_address.get(address)
        if known is not None:
            if not known.peer.budget.admits(now):
                self.dropped["loop_budget"] += 1
                return
            answer = known.check_repeated(data, source, address, now)
            if answer is not None:
                if answer:
                    source.send(answer, address)
                known.peer.budget.charge_elapsed(time.monotonic() - began, now)
                return
        elif not self.unauthenticated_budget.admits(now) and stun.local_fragment(data) not in self.by_ufrag:
            self.dropped["unauthenticated_budget"] += 1
            return
        handler = self._check_received(data, source, address, now)
        budget = self.unauthenticated_budget if handler is None else handler.peer.budget
        budget.charge_elapsed(time.monotonic() - began, now)

    def _check_received(
        self, data: memoryview, source: DatagramSink, address: Address, now: float
    ) -> DatagramHandler | None:
        """Answers a Binding request; returns the connection that it authenticates, or None."""
        try:
            request = stun.parse_binding_request(data)
        except MalformedPacket:
            self.dropped["stun_malformed"] += 1
            return None
        handler = self.by_ufrag.get(request.username.partition(":")[0])
        if handler is None:
            self.dropped["stun_unknown_user"] += 1
            return None
        password = handler.check_received(request, data, source, address, now)
        if password is None:
            self.dropped["stun_not_authentic"] += 1
            return None
        source.send(stun.binding_response(request.transaction_id, address, password), address)
        return handler


def _bind(host: str, port: int, settings: Settings) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_DGRAM)
    try:
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        elif sys.platform == "linux":
            # no fragmentation: the kernel needs no IP id, and a packet that is too large fails instead of disappearing
            sock.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DO)
        for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
            sock.setsockopt(socket.SOL_SOCKET, option, settings.socket_buffer_bytes)
        sock.bind((host, port))
        sock.setblocking(False)
    except OSError:
        sock.close()
        raise
    return sock
