"""One connection of a bot to the server: ICE, DTLS and SRTP over a UDP socket.

    NEW ──connect──▶ CHECKING ──answer──▶ SECURING ──keys──▶ CONNECTED ──▶ CLOSED

Datagrams are read in a reader callback of the event loop. Timers run in `handle_timer`.
"""

import asyncio
import logging
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from enum import Enum, auto
from typing import Final, Protocol

from pylibsrtp import Error as SrtpError

from sfu.bots.descriptions import Credentials, RemoteTransport
from sfu.bots.ice import CONSENT_TIMEOUT, SILENT_AFTER, IceClient
from sfu.transport.dtls import DtlsAssociation, Identity
from sfu.transport.dtls import State as DtlsState
from sfu.transport.srtp import SrtpSession

log = logging.getLogger(__name__)

BATCH: Final = 64
DATAGRAM: Final = 1500
BUFFER_BYTES: Final = 1_000_000
CONNECT_TIMEOUT: Final = 20.0


class State(Enum):
    NEW = auto()
    CHECKING = auto()
    SECURING = auto()
    CONNECTED = auto()
    CLOSED = auto()


class ConnectionListener(Protocol):
    def connected(self) -> None: ...

    def rtp_received(self, packet: bytes, now: float) -> None: ...

    def rtcp_received(self, packet: bytes, now: float) -> None: ...

    def path_broken(self) -> None:
        """The server has not answered for `SILENT_AFTER` seconds: request an ICE restart."""

    def lost(self, reason: str) -> None:
        """The connection failed and is closed."""


class Connection:
    """Call `connect` once, again with new credentials for an ICE restart, and `close` at the end."""

    def __init__(self, identity: Identity, listener: ConnectionListener) -> None:
        self.state = State.NEW
        self.ice = IceClient()
        self.credentials = Credentials(self.ice.ufrag, self.ice.pwd, identity.fingerprint)
        self.sent_bytes = 0
        self.received_bytes = 0
        self.dropped = 0
        """Datagrams that could not be decrypted or sent."""
        self._identity = identity
        self._listener = listener
        self._loop = asyncio.get_running_loop()
        self._sockets: dict[int, socket.socket] = {}
        self._send: Callable[[bytes], int] | None = None
        self._dtls: DtlsAssociation | None = None
        self._tx: SrtpSession | None = None
        self._rx: SrtpSession | None = None
        self._started = 0.0
        self._restart_requested = 0.0

    def connect(self, remote: RemoteTransport) -> None:
        """`remote.setup` is the server's DTLS role; for `actpass` and `passive` the bot is the DTLS client."""
        now = time.monotonic()
        if self.state is State.NEW:
            self._started = now
            self.state = State.CHECKING
            role = "server" if remote.setup == "active" else "client"
            self._dtls = DtlsAssociation(self._identity, role, list(remote.fingerprints))  # type: ignore[arg-type]
            for host, _ in remote.addresses:
                self._open(socket.AF_INET6 if ":" in host else socket.AF_INET)
        self.ice.use(remote.ufrag, remote.pwd, remote.addresses, now)
        self._check(now)

    def send_rtp(self, packet: bytes) -> None:
        """Drops the packet while not connected, or if the socket buffer is full."""
        if self._tx is not None and self._send is not None:
            sealed = self._tx.session.protect(packet)
            self._transmit(sealed)

    def send_rtcp(self, packet: bytes) -> None:
        if self._tx is not None and self._send is not None:
            self._transmit(self._tx.session.protect_rtcp(packet))

    def handle_timer(self, now: float) -> None:
        """Runs ICE, DTLS and consent timers. Call it several times a second."""
        if self.state in (State.NEW, State.CLOSED):
            return
        self._check(now)
        dtls = self._dtls
        if dtls is not None and self.state is State.SECURING:
            due = dtls.next_timeout()
            if due is not None and due <= 0:
                dtls.handle_timeout()
                self._after_dtls()
        if self.state is State.CONNECTED:
            silent = self.ice.silent_for(now)
            if silent > CONSENT_TIMEOUT:
                self._fail("no answer from the server")
            elif silent > SILENT_AFTER and now - self._restart_requested > SILENT_AFTER:
                self._restart_requested = now
                self._listener.path_broken()
        elif now - self._started > CONNECT_TIMEOUT:
            self._fail("connection timed out")

    def close(self) -> None:
        """Idempotent; does not notify the listener."""
        if self.state is State.CLOSED:
            return
        self.state = State.CLOSED
        if self._dtls is not None:
            self._dtls.close()
            self._flush_dtls()
        for sock in self._sockets.values():
            self._loop.remove_reader(sock.fileno())
            sock.close()
        self._sockets.clear()
        self._send = self._tx = self._rx = None

    # -- datagrams --------------------------------------------------------------------------------------------------

    def _open(self, family: int) -> None:
        if family in self._sockets:
            return
        try:
            sock = socket.socket(family, socket.SOCK_DGRAM)
        except OSError:
            return  # this host has no IPv6
        sock.setblocking(False)
        for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
            sock.setsockopt(socket.SOL_SOCKET, option, BUFFER_BYTES)
        self._sockets[family] = sock
        self._loop.add_reader(sock.fileno(), self._readable, sock)

    def _check(self, now: float) -> None:
        for data, address in self.ice.checks(now):
            sock = self._sockets.get(socket.AF_INET6 if ":" in address[0] else socket.AF_INET)
            if sock is not None:
                with suppress(OSError):  # unreachable candidates are expected
                    if self._send is None:
                        sock.sendto(data, address)
                    else:
                        self._send(data)

    def _transmit(self, datagram: bytes) -> None:
        assert self._send is not None
        try:
            self._send(datagram)
            self.sent_bytes += len(datagram)
        except OSError:
            self.dropped += 1

    def _readable(self, sock: socket.socket) -> None:
        now = time.monotonic()
        try:
            for _ in range(BATCH):
                data = sock.recv(DATAGRAM)
                self.received_bytes += len(data)
                self._received(sock, data, now)
                if self.state is State.CLOSED:
                    return
        except BlockingIOError:
            pass
        except OSError:
            self.dropped += 1  # an ICMP error caused by an earlier datagram

    def _received(self, sock: socket.socket, data: bytes, now: float) -> None:
        first = data[0] if data else 255
        if 127 < first < 192:
            if self._rx is None:
                self.dropped += 1
                return
            try:
                if 191 < data[1] < 224:
                    rtcp = self._rx.session.unprotect_rtcp(data)
                else:
                    self._listener.rtp_received(self._rx.session.unprotect(data), now)
                    return
            except (SrtpError, IndexError):
                self.dropped += 1
                return
            self._listener.rtcp_received(rtcp, now)
        elif 19 < first < 64:
            if self._dtls is not None:
                self._dtls.receive(data)
                self._after_dtls()
        elif first < 4 and self.ice.receive(data, now):
            self._selected(sock)

    def _selected(self, sock: socket.socket) -> None:
        address = self.ice.selected
        assert address is not None
        for family, other in list(self._sockets.items()):
            if other is not sock:
                self._loop.remove_reader(other.fileno())
                other.close()
                del self._sockets[family]
        try:
            sock.connect(address)  # the kernel then drops datagrams from other addresses and caches the route
        except OSError:
            self._fail("the server's address is unreachable")
            return
        self._send = sock.send
        self.state = State.SECURING
        self._check(time.monotonic())  # nominate the path before sending anything else on it
        assert self._dtls is not None
        self._dtls.start()
        self._after_dtls()

    def _after_dtls(self) -> None:
        dtls = self._dtls
        assert dtls is not None
        self._flush_dtls()
        if dtls.keys is not None and self.state is State.SECURING:
            keys = dtls.keys
            self._tx = SrtpSession(keys.profile, keys.send, outbound=True)
            self._rx = SrtpSession(keys.profile, keys.receive, outbound=False)
            self.state = State.CONNECTED
            self._listener.connected()
        if dtls.state is DtlsState.CLOSED:
            self._fail(dtls.failure or "closed by the server")

    def _flush_dtls(self) -> None:
        if self._dtls is not None and self._send is not None:
            for datagram in self._dtls.packets_to_send():
                self._transmit(datagram)

    def _fail(self, reason: str) -> None:
        if self.state is not State.CLOSED:
            self.close()
            log.info("connection lost", extra={"reason": reason})
            self._listener.lost(reason)
