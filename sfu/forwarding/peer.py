"""One WebRTC connection as the engine sees it: its transport, the tracks it publishes and the down tracks it receives."""

from collections.abc import Callable, Iterator, Mapping, Sequence

from sfu.bandwidth.twcc import Recorder
from sfu.forwarding.down_track import DownTrack
from sfu.forwarding.encoding import Encoding
from sfu.forwarding.header_extensions import NO_ACTIONS, TWCC, negotiated_actions
from sfu.forwarding.peer_transport import PeerTransport, SrtpContext
from sfu.forwarding.rtcp_budget import NODE_BURST, NODE_RATE, RtcpBudget
from sfu.forwarding.stream_table import CLIENT_LIMITS, NODE_LIMITS, StreamTable
from sfu.forwarding.track import Track
from sfu.ids import PeerId


class EnginePeer(PeerTransport):
    """State of one connection. `Engine.open_peer` makes it; keys and address come when DTLS and ICE have them.

    The C part reads the slots marked (C) by their offset.
    """

    __slots__ = (
        "bytes_in",
        "down_tracks",
        "extension_actions",
        "flooding",
        "last_arrival",
        "last_rate_check",
        "packets_in",
        "payload_time",
        "remb",
        "rtcp_budget",
        "rx",
        "stream_table",
        "streams",
        "tracks",
        "twcc",
    )  # fmt: skip

    def __init__(self, peer_id: PeerId, rtcp_ssrc: int, *, trusted: bool = False) -> None:
        super().__init__(peer_id, rtcp_ssrc, trusted=trusted)
        self.rx: SrtpContext | None = None
        """Inbound SRTP session. (C)"""
        self.extension_actions = NO_ACTIONS
        """Action by header extension id, see header_extensions.py. (C)"""
        self.tracks: dict[str, Track] = {}
        """Published tracks by mid."""
        self.down_tracks: dict[int, DownTrack] = {}
        """By the SSRC sent, media and repair."""
        self.stream_table = StreamTable(self.tracks, NODE_LIMITS if trusted else CLIENT_LIMITS)
        self.streams: dict[int, tuple[Encoding, bool] | None] = self.stream_table.by_ssrc
        """The same object as `stream_table.by_ssrc`, for the packet path. (C)"""
        self.twcc: Recorder | None = None
        """Arrival times for transport-wide feedback, if negotiated. (C)"""
        self.rtcp_budget = RtcpBudget(NODE_RATE, NODE_BURST) if trusted else RtcpBudget()
        self.remb: int | None = None
        """Bits per second that the peer's last REMB allows."""
        self.packets_in = self.bytes_in = 0
        """RTP packets and bytes received. (C)"""
        self.last_arrival = float("-inf")
        """(C)"""
        self.last_rate_check = (0, 0, float("-inf"))
        """Packets, bytes and time at the last check of the ingress rate."""
        self.flooding = False
        """Whether the peer exceeds its limits: its media is dropped before decryption. (C)"""
        self.payload_time = 0.0
        """Seconds that the C part spent in Python code for this peer's payloads and that are not charged yet. (C)"""

    def set_inbound_session(self, rx: SrtpContext, forget: Callable[[int], object] | None) -> None:
        """`forget` drops the state of an SSRC from `rx`."""
        self.rx, self.stream_table.forget = rx, forget

    def drop_sessions(self) -> None:
        """Lets go of keys and socket."""
        self.rx = self.tx = self.datagram_sink = self.downlink = self.stream_table.forget = None

    def exceeds_ssrc_limit(self, ssrc: int) -> bool:
        """Whether a media packet of `ssrc` would be one stream too many. Asked before libsrtp sees the packet."""
        return self.stream_table.exceeds_ssrc_limit(ssrc)

    def exceeds_reporter_limit(self, ssrc: int) -> bool:
        """The same for RTCP from `ssrc`."""
        return self.stream_table.exceeds_reporter_limit(ssrc)

    def add_reporter(self, ssrc: int) -> None:
        """Records an SSRC whose RTCP was decrypted."""
        self.stream_table.reporters.add(ssrc)

    def add_track(self, track: Track, extensions: Mapping[str, int], ssrcs: Sequence[tuple[int, int | None]]) -> None:
        """`extensions`: negotiated ids (URI → id). `ssrcs` (media, repair): of the track's encodings, in their order."""
        self._set_header_extensions(extensions)
        self.tracks[track.mid] = track
        if ssrcs:
            self.stream_table.bind_declared_ssrcs(track, ssrcs)
        self.stream_table.drop_unbound()

    def remove_track(self, track: Track) -> None:
        """Unbinds its SSRCs. Call it before `Track.close`."""
        if self.tracks.get(track.mid) is track:
            del self.tracks[track.mid]
        for encoding in track.encodings.values():
            for ssrc in (encoding.ssrc, encoding.rtx_ssrc):
                self.stream_table.unbind(ssrc)

    def add_down_track(self, down_track: DownTrack) -> None:
        self.down_tracks[down_track.ssrc] = down_track
        if down_track.rtx_ssrc:
            self.down_tracks[down_track.rtx_ssrc] = down_track

    def remove_down_track(self, down_track: DownTrack) -> None:
        """`totals` keeps the packets that it sent."""
        if self.down_tracks.pop(down_track.ssrc, None) is not None:
            self.counters.removed_packets += down_track.packets
            self.counters.removed_bytes += down_track.octets
        self.down_tracks.pop(down_track.rtx_ssrc, None)

    def _set_header_extensions(self, extensions: Mapping[str, int]) -> None:
        """Takes the negotiated ids (URI → id); one table for a whole bundle (RFC 8843 10)."""
        self.extension_actions = negotiated_actions(self.extension_actions, extensions)
        if TWCC in self.extension_actions and self.twcc is None:
            self.twcc = Recorder(self.rtcp_ssrc)

    @property
    def spare_streams(self) -> int:
        """How many further streams the peer may send in its lifetime."""
        return self.stream_table.spare

    def media_down_tracks(self) -> Iterator[DownTrack]:
        """Each down track once."""
        return (down_track for ssrc, down_track in self.down_tracks.items() if ssrc == down_track.ssrc)

    def totals(self) -> dict[str, int]:
        """All counters by name."""
        counters = self.counters
        return {
            "packets_in": self.packets_in,
            "bytes_in": self.bytes_in,
            "packets_out": self.packets_out,
            "bytes_out": self.bytes_out,
            "nacks_sent": counters.nacks_sent,
            "nacks_received": counters.nacks_received,
            "keyframe_requests_received": counters.keyframe_requests_received,
            "retransmitted": counters.retransmitted,
            "unrouted": counters.unrouted,
        }

    @property
    def packets_out(self) -> int:
        """RTP packets sent, retransmissions included. Summed on demand, so that the packet path counts only once."""
        counters = self.counters
        sent = counters.removed_packets + counters.retransmitted
        return sent + sum(down_track.packets for down_track in self.media_down_tracks())

    @property
    def bytes_out(self) -> int:
        counters = self.counters
        sent = counters.removed_bytes + counters.retransmitted_bytes
        return sent + sum(down_track.octets for down_track in self.media_down_tracks())
