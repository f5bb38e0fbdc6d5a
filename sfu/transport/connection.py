"""One WebRTC connection: ICE transport, DTLS, the engine's peer and optional data channels.

    NEW ──first valid check──▶ CONNECTING ──keys──▶ CONNECTED ──▶ CLOSED
     └───────────── deadline ───────┴──── no consent / close ──────┘

Closing order: data channels, DTLS (close_notify), engine peer (its down tracks, then its tracks), the port's tables. A
PublisherConnection or SubscriberConnection owns one of these and is its ConnectionListener.
"""

import logging
import secrets
import time
from collections.abc import Sequence
from enum import Enum, auto
from typing import TYPE_CHECKING, Final, Protocol

from sfu.errors import BadRequest
from sfu.forwarding.decision_log import DecisionLog
from sfu.forwarding.loop_budget import ACKNOWLEDGEMENTS_BURST, ACKNOWLEDGEMENTS_SHARE, LoopBudget
from sfu.forwarding.peer_transport import Address, DatagramSink
from sfu.ids import PeerId
from sfu.sdp.local import LocalTransport
from sfu.transport.dtls import DtlsAssociation, Identity, Role
from sfu.transport.dtls import State as DtlsState
from sfu.transport.ice_transport import IceServer, IceTransport
from sfu.transport.srtp import SrtpSession
from sfu.transport.stun import BindingRequest

if TYPE_CHECKING:
    from sfu.transport.data_channels import DataChannels, DataListener

log = logging.getLogger(__name__)

EARLY: Final = 4
"""DTLS datagrams that are kept until the fingerprint is known: browsers send ClientHello right after their answer and repeat it
after 50 ms at the earliest. A ClientHello with post-quantum keys takes two datagrams."""
FORGED_SHARE: Final = 0.02
"""Fraction of the loop's time for DTLS records that fail authentication. Anyone who can spoof the address can send them, so
they are not charged to the participant."""
FORGED_BURST: Final = 0.01


class State(Enum):
    NEW = auto()
    CONNECTING = auto()
    CONNECTED = auto()
    CLOSED = auto()


class ConnectionListener(Protocol):
    def connected(self) -> None: ...

    def lost(self, reason: str) -> None:
        """The connection failed or the peer closed it. It is closed already."""


class ConnectionServer(IceServer, Protocol):
    """The part of the server (webrtc_server.py) that connections use."""

    identity: Identity
    candidates: tuple[tuple[str, int, int, str, str], ...]

    def next_peer_id(self) -> PeerId: ...

    def add(self, connection: "Connection") -> None: ...

    def remove(self, connection: "Connection", was: State) -> None: ...

    def admit_handshake(self, connection: "Connection", host: str) -> bool:
        """Whether one more handshake from this IP address may begin."""

    def handshake_done(self, connection: "Connection") -> None: ...


class _NullListener:
    """The listener of a closed connection."""

    def connected(self) -> None: ...

    def lost(self, reason: str) -> None: ...


NULL_LISTENER: Final = _NullListener()


class Connection:
    """Owned by a publishing or subscribing connection. All methods run on the event loop and do not block."""

    def __init__(
        self,
        webrtc_server: ConnectionServer,
        name: str,
        listener: ConnectionListener,
        decision_log: DecisionLog | None = None,
        budget: LoopBudget | None = None,
    ) -> None:
        """`decision_log`, `budget`: of the participant."""
        self._webrtc_server = webrtc_server
        self.name = name
        """For logs only."""
        self._listener: ConnectionListener = listener
        self.state = State.NEW
        self.peer = webrtc_server.engine.open_peer(
            webrtc_server.next_peer_id(), secrets.randbits(31) | 1, decision_log=decision_log, budget=budget
        )
        self.ice = IceTransport(webrtc_server, self.peer, self)
        self.session_id = secrets.randbits(62)
        self.session_version = 0
        self._dtls: DtlsAssociation | None = None
        self._early: list[bytes] = []
        self._channels: DataChannels | None = None
        self._forged = LoopBudget(FORGED_SHARE, FORGED_BURST)
        self._acknowledgements = LoopBudget(ACKNOWLEDGEMENTS_SHARE, ACKNOWLEDGEMENTS_BURST)
        self._sending = 0.0
        """Seconds spent on sending while handling the current datagram."""
        self.created_at = time.monotonic()
        self.described_at: float | None = None
        """When the peer first received our description: its deadline for a check starts here."""
        self.checked_at: float | None = None
        """Time of the first valid check: the deadline of the handshake starts here."""
        self.connected_at: float | None = None
        webrtc_server.add(self)

    # -- negotiation ------------------------------------------------------------------------------------------------

    def local(self) -> LocalTransport:
        """Our transport parameters for the SDP; each call increments the session version."""
        self.session_version += 1
        if self.described_at is None:
            self.described_at = time.monotonic()
        return LocalTransport(
            self.ice.agent.ufrag,
            self.ice.agent.pwd,
            self._webrtc_server.identity.fingerprint,
            self._webrtc_server.candidates,
        )

    def start_dtls(self, role: Role, fingerprints: Sequence[tuple[str, str]]) -> None:
        """Sets the peer's fingerprints and the DTLS role. Only the first call has an effect."""
        if self._dtls is not None or self.state is State.CLOSED:
            return
        if not fingerprints:
            raise BadRequest("The session description has no certificate fingerprint.")
        self._dtls = DtlsAssociation(self._webrtc_server.identity, role, list(fingerprints))
        if self.ice.selected is not None:
            self._begin_handshake()
        early, self._early = self._early, []
        for datagram in early:
            self.dtls_received(datagram)

    def open_data(self, remote_port: int, max_message_size: int, listener: "DataListener") -> None:
        """Negotiated data channels; they start when DTLS is connected."""
        if self._channels is None and self._dtls is not None:
            from sfu.transport.data_channels import DataChannels  # imports aiortc: see WebRtcServer.open

            self._channels = DataChannels(
                self._send_sctp,
                server=self._dtls.role == "server",
                remote_port=remote_port,
                max_message_size=max_message_size,
                buffer_bytes=self._webrtc_server.settings.data_channel_buffer_bytes,
                listener=listener,
                counts=self._webrtc_server.port.dropped,
            )
            if self.state is State.CONNECTED:
                self._channels.start()

    @property
    def channels(self) -> "DataChannels | None":
        return self._channels

    # -- the port's side --------------------------------------------------------------------------------------------

    def check_repeated(self, data: memoryview, source: DatagramSink, address: Address, now: float) -> bytes | None:
        return self.ice.check_repeated(data, source, address, now)

    def check_received(
        self, request: BindingRequest, data: memoryview, source: DatagramSink, address: Address, now: float
    ) -> bytes | None:
        if self.state is State.CLOSED:
            return None
        password = self.ice.check_received(request, data, source, address, now)
        if password is None:
            return None
        if self.state is State.NEW:
            if not self._webrtc_server.admit_handshake(self, address[0]):
                return None
            self.state = State.CONNECTING
            self.checked_at = now
            self._begin_handshake()
        elif self.state is State.CONNECTED:
            self.ice.expect_repetition(request, data, address, password)
        return password

    def packet_received(self, address: Address, now: float) -> None:
        self.ice.packet_received(address, now)

    def yield_address(self, address: Address, now: float) -> bool:
        return self.ice.yield_address(address, now)

    def path_closed(self, address: Address) -> None:
        self.ice.path_closed(address)

    def dtls_received(self, datagram: bytes) -> None:
        dtls = self._dtls
        if dtls is None or self.state is State.CLOSED:
            if self.state is State.CONNECTING and len(self._early) < EARLY:
                self._early.append(datagram)
            return
        now = time.monotonic()
        if not self._forged.admits(now):
            self._webrtc_server.port.dropped["dtls_forged"] += 1
            return
        if not self._acknowledgements.admits(now):
            self._webrtc_server.port.dropped["sctp_rate"] += 1
            return
        if self.state is not State.CONNECTED:
            began = time.thread_time()  # a flight may cost more than `EVENT_LIMIT`
            dtls.receive(datagram)
            self._after_dtls()
            self.peer.budget.charge(time.thread_time() - began, now)
            return
        self._sending = 0.0
        dtls.receive(datagram)
        if not self._after_dtls():
            budget = self._forged
        elif self._channels is not None and self._channels.acknowledged:
            budget = self._acknowledgements
        else:
            budget = self.peer.budget
        budget.charge_elapsed(time.monotonic() - now - self._sending, now)

    # -- DTLS -------------------------------------------------------------------------------------------------------

    def _begin_handshake(self) -> None:
        dtls = self._dtls
        if dtls is not None and dtls.state is DtlsState.NEW:
            dtls.start()
            self._after_dtls()

    def _after_dtls(self) -> bool:
        """Applies the effects of the records. Returns whether any record was authentic."""
        dtls = self._dtls
        assert dtls is not None
        self._flush_dtls()
        if dtls.keys is not None and self.state is State.CONNECTING:
            self._use_keys(dtls)
        if dtls.state is DtlsState.CLOSED:
            self._fail(dtls.failure or "closed")
            return True
        channels, packets = self._channels, dtls.application_data()
        for packet in packets:
            if channels is not None:
                channels.receive(packet)
        return bool(packets)

    def _use_keys(self, dtls: DtlsAssociation) -> None:
        keys = dtls.keys
        assert keys is not None
        self.state = State.CONNECTED
        self.connected_at = time.monotonic()
        self._webrtc_server.handshake_done(self)
        receive = SrtpSession(keys.profile, keys.receive, outbound=False)
        send = SrtpSession(keys.profile, keys.send, outbound=True)
        self._contexts = (receive, send)
        self._webrtc_server.engine.set_srtp_sessions(
            self.peer, receive.handle, send.handle, keys.profile.tag, receive.forget
        )
        if self._channels is not None:
            self._channels.start()
        self._listener.connected()

    def _flush_dtls(self) -> None:
        dtls, datagram_sink = self._dtls, self.peer.datagram_sink
        if dtls is None or datagram_sink is None:
            return
        for datagram in dtls.packets_to_send():
            datagram_sink.send(datagram, self.peer.address)

    def _send_sctp(self, packet: bytes) -> None:
        if self._dtls is not None:
            began = time.monotonic()
            self._dtls.send(packet)
            self._flush_dtls()
            self._sending += time.monotonic() - began

    def forget_sent(self, ssrc: int) -> None:
        """Frees the SRTP state of an ended stream: see `SrtpSession.forget`."""
        if self._contexts is not None:
            self._contexts[1].forget(ssrc)

    # -- time -------------------------------------------------------------------------------------------------------

    def handle_timer(self, now: float) -> None:
        """A few times a second while connecting, once a second afterwards."""
        settings = self._webrtc_server.settings
        if self.state is State.NEW:
            if self.described_at is not None and now - self.described_at > settings.connect_timeout:
                self._fail("no connectivity check arrived")
        elif self.state is State.CONNECTING:
            assert self.checked_at is not None
            if now - self.checked_at > settings.handshake_timeout:
                self._fail("the DTLS handshake did not complete in time")
            elif self._dtls is not None:
                due = self._dtls.next_timeout()
                if due is not None and due <= 0:
                    self._dtls.handle_timeout()
                    self._after_dtls()
        elif self.state is State.CONNECTED and not self.ice.has_consent(now):
            self._fail("no consent: connectivity checks stopped")

    def silent_for(self, now: float) -> float:
        """Seconds since the last check or media packet of the peer."""
        return max(0.0, now - max(self.ice.agent.last_check, self.peer.last_arrival, self.created_at))

    def _fail(self, reason: str) -> None:
        if self.state is State.CLOSED:
            return
        was, listener = self.state, self._listener
        self.close()
        log.info("connection lost", extra={"peer": self.peer.id, "state": was.name, "reason": reason})
        listener.lost(reason)

    def close(self) -> None:
        """Idempotent. Does not call the listener."""
        if self.state is State.CLOSED:
            return
        was, self.state = self.state, State.CLOSED
        self._early.clear()
        if self._channels is not None:
            self._channels.close()
        if self._dtls is not None:
            self._dtls.close()
            self._flush_dtls()
        self._webrtc_server.engine.close_peer(self.peer)
        self.ice.close()
        self._webrtc_server.remove(self, was)
        # Without reference cycles, everything is freed immediately.
        self._listener, self._dtls, self._channels, self._contexts = NULL_LISTENER, None, None, None

    _contexts: tuple[SrtpSession, SrtpSession] | None = None
