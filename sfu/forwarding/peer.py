"""One WebRTC connection as the engine sees it: keys, address, what it sends and what it is sent."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final, Protocol

from sfu.bandwidth.twcc import Recorder
from sfu.forwarding.encoding import Encoding
from sfu.forwarding.loop_budget import LoopBudget, media_budget
from sfu.forwarding.rtcp_budget import RtcpBudget
from sfu.forwarding.track import Track
from sfu.ids import PeerId
from sfu.rtp.nack import NackBudget
from sfu.sdp import capabilities as caps

if TYPE_CHECKING:
    from sfu.forwarding.decision_log import DecisionLog
    from sfu.forwarding.down_track import DownTrack
    from sfu.forwarding.downlink import Downlink

Address = tuple[str, int] | tuple[str, int, int, int]

SSRC_LIMIT: Final = 128
"""Streams one peer may send: 16 cameras in three layers with repairs are 96. Beyond it packets are dropped before they are
opened (libsrtp slows with every SSRC)."""
REBIND_PAUSE: Final = 1.0
"""Seconds before an encoding may go on under yet another SSRC: each change moves all its routes."""
REBIND_SILENCE: Final = 0.25
"""Seconds of silence after which a stream without a rid may go on under another SSRC: two that send at once are the layers of
a client that declares none, of which one is taken."""
REPORTER_LIMIT: Final = 192
"""SSRCs under which one peer may send RTCP."""
LIFETIME_LIMIT: Final = 512
"""Streams of one peer that libsrtp keeps the state of; beyond it, those of removed tracks are forgotten, oldest first."""

IGNORE, TWCC, MID, RID, REPAIRED_RID, LEVEL, DEPENDENCY, SEND_TIME = range(8)
PASS: Final = 16
"""`actions[id] − PASS` is the outbound id of an extension that passes through unchanged."""

NO_ACTIONS: Final = [IGNORE] * 256
_ACTIONS: Final = {
    caps.URI_TRANSPORT_CC: TWCC,
    caps.URI_MID: MID,
    caps.URI_RID: RID,
    caps.URI_REPAIRED_RID: REPAIRED_RID,
    caps.URI_AUDIO_LEVEL: LEVEL,
    caps.URI_DEPENDENCY_DESCRIPTOR: DEPENDENCY,
    caps.URI_ABS_SEND_TIME: SEND_TIME,
}


class Pointer(Protocol):
    """An address that libsrtp can be given; adding moves it by bytes."""

    def __add__(self, offset: int, /) -> "Pointer": ...


class SrtpContext(Protocol):
    """A libsrtp session, opaque here."""


class Plain:
    """Stands for the keys of a peer that needs none: a consumer in a process of this machine, behind a Unix socket."""

    __slots__ = ()


PLAIN: Final = Plain()


class DatagramSink(Protocol):
    """A UDP socket, or what takes a plain peer's datagrams (and ignores `address`).

    Both return False when the kernel took nothing (its buffer is full): the datagrams are dropped.
    """

    segments: bool
    "Whether `send_segments` works here (UDP GSO, Linux)."

    def send(self, data: memoryview | bytes, address: Address) -> bool: ...

    def send_segments(self, data: memoryview, size: int, address: Address) -> bool:
        """`data` cut into datagrams of `size` bytes, the last one perhaps shorter."""


class EnginePeer:
    """State of one connection. Made by `Engine.open_peer`; keys and address come when DTLS and ICE have them."""

    __slots__ = (
        "address",
        "auth_tag_size",
        "budget",
        "bytes_in",
        "bytes_repaired",
        "clock_offset",
        "closed",
        "datagram_sink",
        "decision_log",
        "down_tracks",
        "downlink",
        "extension_actions",
        "feedback_ssrc",
        "flooding",
        "forget",
        "id",
        "inbound_ssrcs",
        "keyframe_requests_received",
        "last_arrival",
        "last_rate_check",
        "nack_budget",
        "nacks_received",
        "nacks_sent",
        "native_state",
        "packets_in",
        "payload_time",
        "remb",
        "reporters",
        "retired",
        "retired_octets",
        "retired_packets",
        "retransmitted",
        "rtcp_budget",
        "rtcp_ssrc",
        "rtt",
        "rx",
        "streams",
        "tracks",
        "twcc",
        "twcc_number",
        "tx",
        "unrouted",
        "xr_reference_times",
    )  # fmt: skip

    def __init__(self, peer_id: PeerId, rtcp_ssrc: int) -> None:
        self.id = peer_id
        self.rtcp_ssrc = rtcp_ssrc
        self.rx: SrtpContext | None = None
        self.tx: SrtpContext | None = None
        """`PLAIN` when nothing is sealed: see `Engine.open_plain_peer`."""
        self.native_state: object = None
        """Whatever a native fan-out keeps of keys and address."""
        self.auth_tag_size = 16
        """Bytes that sealing adds to an RTP packet."""
        self.datagram_sink: DatagramSink | None = None
        self.address: Address = ("", 0)
        self.extension_actions = NO_ACTIONS
        """What to do with an extension, by its id; a peer that publishes has its own."""
        self.streams: dict[int, tuple[Encoding, bool] | None] = {}
        """SSRC → (encoding, whether it repairs it); None: seen and not bound (yet)."""
        self.inbound_ssrcs: set[int] = set()
        """Every SSRC whose state the keys keep."""
        self.reporters: set[int] = set()
        """The same for SRTCP."""
        self.retired: dict[int, None] = {}
        """Those of removed tracks, oldest first: their state may be forgotten."""
        self.forget: Callable[[int], object] | None = None
        """Makes the keys forget the state of an SSRC."""
        self.tracks: dict[str, Track] = {}
        """By mid."""
        self.down_tracks: dict[int, DownTrack] = {}
        """By the SSRC sent, media and repair."""
        self.twcc: Recorder | None = None
        self.twcc_number = 0
        """Next transport-wide sequence number towards this peer."""
        self.feedback_ssrc = 0
        """A live SSRC of the peer: libwebrtc ignores feedback whose media SSRC it does not know."""
        self.clock_offset: float | None = None
        """Seconds to add to the peer's NTP clock to get ours (smallest seen: the least delayed report)."""
        self.xr_reference_times: dict[int, tuple[int, float]] = {}
        """What the peer told of its clock and wants told back, by its SSRC: (middle 32 bits of NTP time, when)."""
        self.rtt: float | None = None
        self.last_rate_check = (0, 0, float("-inf"))
        """Packets, bytes and time when the rate was last looked at."""
        self.flooding = False
        """Sends more than it may: its media is dropped unopened."""
        self.rtcp_budget = RtcpBudget()
        self.nack_budget = NackBudget()
        self.downlink: Downlink | None = None
        """Estimates and allocates what is sent to this peer, when somebody wants that; hears of its reports."""
        self.budget: LoopBudget = media_budget()
        """Loop time of its datagrams and of the work that they cause; one for both connections of a participant."""
        self.payload_time = 0.0
        """Seconds that the native path spent in Python code for payloads of this peer and that are not charged yet."""
        self.decision_log: DecisionLog | None = None
        """What is decided for its participant is written there, where somebody reads it."""
        self.remb: int | None = None
        """Bits per second that the peer says it can receive."""
        self.last_arrival = float("-inf")
        self.closed = False
        self.packets_in = self.bytes_in = self.bytes_repaired = 0
        self.retired_packets = self.retired_octets = 0
        """Sent by routes that are gone."""
        self.nacks_sent = self.nacks_received = self.keyframe_requests_received = self.retransmitted = self.unrouted = 0

    def _live_routes(self) -> "Iterator[DownTrack]":
        return (down_track for ssrc, down_track in self.down_tracks.items() if ssrc == down_track.ssrc)

    @property
    def packets_out(self) -> int:
        """RTP packets sent, repairs included. Summed when asked, so that the packet path counts once."""
        return self.retired_packets + self.retransmitted + sum(down_track.packets for down_track in self._live_routes())

    @property
    def bytes_out(self) -> int:
        return self.retired_octets + self.bytes_repaired + sum(down_track.octets for down_track in self._live_routes())

    def set_header_extensions(self, extensions: Mapping[str, int]) -> None:
        """Takes the negotiated ids (one table for a whole bundle, RFC 8843 10)."""
        if self.extension_actions is NO_ACTIONS:
            self.extension_actions = list(NO_ACTIONS)
        for uri, number in extensions.items():
            action = _ACTIONS.get(uri)
            if action is None:
                out = caps.OUT_EXTENSION_IDS.get(uri)
                action = IGNORE if out is None else PASS + out
            self.extension_actions[number] = action
        if TWCC in self.extension_actions and self.twcc is None:
            self.twcc = Recorder(self.rtcp_ssrc)

    def bind(
        self, ssrc: int, payload_type: int, mid: str | None, rid: str | None, repaired: str | None, now: float
    ) -> bool:
        """Finds the encoding of a new SSRC; False when it cannot be told (yet)."""
        for track in self.tracks.values():
            repair = payload_type in track.rtx
            if not repair and payload_type not in track.payload_types:
                continue
            if mid is not None:
                if mid != track.mid:
                    continue
            elif sum(payload_type in t.rtx or payload_type in t.payload_types for t in self.tracks.values()) > 1:
                continue
            encoding = track.encodings.get((repaired or rid or "") if repair else (rid or ""))
            if encoding is None:
                continue
            if repair:
                if not repaired and encoding.rtx_ssrc and encoding.repaired_ssrc == encoding.ssrc:
                    return False  # the repairs of another stream that has no rid
                self.unbind(encoding.rtx_ssrc)
                encoding.rtx_ssrc, encoding.repaired_ssrc = ssrc, encoding.ssrc
            else:
                if now - encoding.bound_at < REBIND_PAUSE or (not rid and now - encoding.last_arrival < REBIND_SILENCE):
                    return False
                if encoding.ssrc:
                    self.unbind(encoding.ssrc)
                    encoding = track.rebind(encoding)
                encoding.ssrc = ssrc
                encoding.bound_at = now
                self.feedback_ssrc = ssrc
            self.streams[ssrc] = (encoding, repair)
            self.retired.pop(ssrc, None)
            return True
        return False

    def bind_declared_ssrcs(self, track: Track, ssrcs: Sequence[tuple[int, int | None]]) -> None:
        """Binds what the offer's a=ssrc lines say: one stream of each encoding, in their order."""
        for encoding, (ssrc, rtx_ssrc) in zip(track.encodings.values(), ssrcs, strict=False):
            if self._own(ssrc, (encoding, False)):
                encoding.ssrc = ssrc
                self.feedback_ssrc = self.feedback_ssrc or ssrc
            if rtx_ssrc is not None and self._own(rtx_ssrc, (encoding, True)):
                encoding.rtx_ssrc, encoding.repaired_ssrc = rtx_ssrc, ssrc

    def _own(self, ssrc: int, bound: tuple[Encoding, bool]) -> bool:
        """Binds a declared SSRC; False when it is another one's, or one too many."""
        if self.streams.get(ssrc) is not None or self.exceeds_ssrc_limit(ssrc):
            return False
        self.streams[ssrc] = bound
        self.inbound_ssrcs.add(ssrc)
        self.retired.pop(ssrc, None)
        return True

    def exceeds_ssrc_limit(self, ssrc: int) -> bool:
        """Whether a sealed packet would be one stream too many: asked before libsrtp learns of it."""
        if ssrc in self.streams:
            return False
        if len(self.streams) >= SSRC_LIMIT:
            return True
        return (
            ssrc not in self.inbound_ssrcs and len(self.inbound_ssrcs) >= LIFETIME_LIMIT and not self._forget_oldest()
        )

    def exceeds_reporter_limit(self, ssrc: int) -> bool:
        """The same for RTCP of an SSRC."""
        while ssrc not in self.reporters and len(self.reporters) >= REPORTER_LIMIT:
            if not self._forget_oldest():
                return True
        return False

    def _forget_oldest(self) -> bool:
        """Makes room for another stream; False when every one belongs to a track that is there, or to none that was."""
        if not self.retired:
            return False
        ssrc = next(iter(self.retired))
        del self.retired[ssrc]
        self.inbound_ssrcs.discard(ssrc)
        self.reporters.discard(ssrc)
        if self.forget is not None:
            self.forget(ssrc)
        return True

    @property
    def spare_streams(self) -> int:
        """How many further streams its tracks may have."""
        return LIFETIME_LIMIT - len(self.inbound_ssrcs) + len(self.retired)

    def unbind(self, ssrc: int) -> None:
        """Forgets a stream. Its state is kept while there is room, so that its packets cannot be played again."""
        if self.streams.pop(ssrc, None) is not None:
            self.retired[ssrc] = None
        if ssrc == self.feedback_ssrc:
            self.feedback_ssrc = next((s for s, bound in self.streams.items() if bound and not bound[1]), 0)
