"""One track towards one subscriber: which stream the subscriber gets now, and the offsets that make it continuous.

A subscriber sees one continuous RTP stream across layer switches: sequence numbers, VP8/VP9 picture ids, TL0PICIDX and
dependency descriptor frame numbers continue by one, timestamps by the time that passed (offsets.py).
"""

from collections.abc import Callable, Sequence
from typing import Final, Protocol

from sfu.forwarding.header_layout import HeaderLayout
from sfu.forwarding.media_track import MediaTrack
from sfu.forwarding.offsets import Offsets, continuing, timestamp_on
from sfu.forwarding.packet import HEAD_SIZE, CodecPatch, Packet
from sfu.forwarding.peer_clock import NTP_UNITS
from sfu.forwarding.peer_transport import PeerTransport
from sfu.forwarding.redundancy import Redundancy
from sfu.forwarding.resend_limits import ResendLimits
from sfu.forwarding.switch_history import SwitchHistory
from sfu.rtp.rtcp import ReportBlock, SenderReport

SentCallback = Callable[[tuple[int, Sequence[int], float]], None]
"""Takes (first transport-wide number, sizes, time) of packets that are sent together, for bandwidth estimation."""

DATAGRAMS_KEPT: Final = 256
"""Encrypted packets kept for a subscriber that negotiated NACK without RTX: about a second of 2 Mbit/s, at most 370 kB."""
LAYER_SWITCH_TIMEOUT: Final = 2.0
"""Seconds to wait for a switch point between layers of one encoding before a keyframe is requested. Switch points occur
several times a second."""


class RtpStream(Protocol):
    """The part of a stream (stream.py) that down tracks use."""

    track: MediaTrack
    down_tracks: "list[DownTrack]"
    forwarded: int
    last_timestamp: int
    last_codec_patch: CodecPatch | None
    spatial: int
    temporal: int
    shift: int
    picture_shift: int

    @property
    def origin(self) -> "OriginStream": ...

    def extended(self, sequence: int) -> int: ...

    def extended_forwarded(self) -> int: ...

    def find(self, sequence: int) -> Packet | None: ...


class OriginStream(RtpStream, Protocol):
    """The part of an encoding (encoding.py) that down tracks use."""

    ssrc: int
    last_arrival: float
    last_report: SenderReport | None


class DownTrack:
    """Forwarding state of one (track, subscriber). Made by `Engine.add_down_track`."""

    __slots__ = (
        "_resend_limits",
        "cname",
        "current",
        "datagrams",
        "highest_sent",
        "keyframe_requested_at",
        "last_report_block",
        "layout",
        "mid_word",
        "octets",
        "offsets",
        "on_sent",
        "packets",
        "payload_types",
        "peer",
        "previous",
        "redundancy",
        "retransmitted",
        "rtx_payload_type",
        "rtx_sequence",
        "rtx_ssrc",
        "ssrc",
        "supports_red",
        "switch_history",
        "switches",
        "target",
        "track",
    )  # fmt: skip

    def __init__(
        self,
        track: MediaTrack,
        peer: PeerTransport,
        *,
        mid: str,
        ssrc: int,
        rtx_ssrc: int,
        payload_type: int,
        red_payload_type: int | None,
        rtx_payload_type: int | None,
        first_sequence: int,
        cname: str,
        layout: HeaderLayout | None = None,
        keeps_datagrams: bool = False,
    ) -> None:
        if layout is None and (len(mid) != 2 or not mid.isascii() or keeps_datagrams):
            raise ValueError(f"mid must be two ASCII characters, not {mid!r}")
        self.track = track
        self.peer = peer
        self.cname = cname
        self.layout = layout
        """Header extensions that the subscriber chose; None: canonical packets. (C)"""
        self.mid_word = ord(mid[0]) << 8 | ord(mid[1]) if layout is None else 0
        """The mid in canonical packets. (C)"""
        self.datagrams: list[bytes | None] | None = [None] * DATAGRAMS_KEPT if keeps_datagrams else None
        """Encrypted packets, by the low bits of their sequence number, to resend as they are. (C)"""
        self.ssrc = ssrc
        self.rtx_ssrc = rtx_ssrc
        self.payload_types = (payload_type, payload_type if red_payload_type is None else red_payload_type)
        """Outbound payload type by `Packet.codec_index`."""
        self.supports_red = red_payload_type is not None
        self.rtx_payload_type = rtx_payload_type
        self.current: RtpStream | None = None
        """The stream that is sent now; None while paused or before the first keyframe."""
        self.previous: RtpStream | None = None
        """The stream that was sent before the pause: the numbers continue from there."""
        self.target: RtpStream | None = None
        """The stream to send from its next keyframe or switch point on."""
        self.offsets = Offsets()
        self.highest_sent = (first_sequence - 1) & 0xFFFF
        """Highest sequence number sent. Valid while `current` is None; see `last_sent`."""
        self.rtx_sequence = first_sequence
        self.packets = 0
        self.octets = 0
        self.retransmitted = 0
        self.switches = 0
        self.keyframe_requested_at = 0.0
        self.redundancy = Redundancy() if self.supports_red else None
        """How many older packets each audio packet repeats; None if the subscriber does not accept RED."""
        self.last_report_block: ReportBlock | None = None
        """The subscriber's newest report block for this SSRC."""
        self.on_sent: SentCallback | None = None
        """Called with the packets sent; None if the subscriber sends no transport-wide feedback for them."""
        self.switch_history = SwitchHistory()
        """Its newest segment is open while `current` is not None."""
        self._resend_limits = ResendLimits()

    def continue_from(self, ended: "DownTrack") -> None:
        """Continues the RTP stream of a down track that has ended and has the same SSRCs, with the media of another track."""
        self.highest_sent = ended.last_sent()
        self.rtx_sequence = ended.rtx_sequence
        self.previous = ended.current or ended.previous
        self.offsets = ended.offsets

    @classmethod
    def null_tap(cls, stream: RtpStream) -> "DownTrack":
        """A down track that sends nothing. The engine skips streams without down tracks; this one keeps a stream active."""
        track = stream.track
        return cls(
            track, track.peer, mid="00", ssrc=0, rtx_ssrc=0, payload_type=0, red_payload_type=None,
            rtx_payload_type=None, first_sequence=0, cname="",
        )  # fmt: skip

    def switch(self, encoding: RtpStream, packet: Packet, now: float) -> None:
        """Sends `encoding` from `packet` on: computes the offsets that keep the subscriber's stream continuous."""
        sequence = (self.last_sent() + 1) & 0xFFFF
        if self.current is not None:
            self.switch_history.end()
        old = self.current or self.previous
        timestamp = packet.timestamp
        last = None
        if old is not None:
            timestamp = self._next_timestamp(old, encoding, packet.timestamp, now)
            last = old.last_codec_patch
        self.offsets = continuing(
            self.offsets if old is not None else Offsets(),
            last,
            packet.codec_patch,
            sequence=(sequence - packet.sequence) & 0xFFFF,
            timestamp=(timestamp - packet.timestamp) & 0xFFFFFFFF,
        )
        self.switch_history.begin(encoding, self.offsets, packet.sequence)
        if old is not None and old is not encoding and self in old.down_tracks:
            old.down_tracks.remove(self)
        self.current, self.previous = encoding, None
        self.switches += 1

    def switch_layers(self, stream: RtpStream, packet: Packet) -> None:
        """Sends other layers of the same encoding from `packet` on. Neither stream has taken `packet` yet."""
        old, offsets = self.current, self.offsets
        assert old is not None
        self.switch_history.end_before((packet.sequence - old.shift) & 0xFFFF)
        picture = (offsets.picture + stream.picture_shift - old.picture_shift) & 0x7FFF
        self.offsets = offsets._replace(
            sequence=(offsets.sequence + stream.shift - old.shift) & 0xFFFF,
            picture=picture,
            rewrites=bool(picture or offsets.tl0picidx or offsets.frame),
        )
        self.switch_history.begin(stream, self.offsets, (packet.sequence - stream.shift) & 0xFFFF)
        if self in old.down_tracks:
            old.down_tracks.remove(self)
        self.current = stream
        self.switches += 1

    @property
    def selected(self) -> RtpStream | None:
        """The stream selected last, whether it is sent already or not."""
        return self.target or self.current

    @property
    def is_sending(self) -> bool:
        return self.current is not None

    @property
    def reported_loss(self) -> float | None:
        """Loss in the subscriber's last report, 0–1; None if nothing is sent or no report has come."""
        if self.current is None or self.last_report_block is None:
            return None
        return self.last_report_block.fraction_lost / 256

    def is_forwarding(self, encoding: RtpStream) -> bool:
        """Whether all or some layers of this encoding are sent now."""
        return self.current is not None and self.current.origin is encoding

    def _next_timestamp(self, old: RtpStream, new: RtpStream, timestamp: int, now: float) -> int:
        """The subscriber's timestamp for `timestamp` of `new`: by sender reports if possible, else by the elapsed time."""
        shift = self.offsets.timestamp
        if old.origin is new.origin:
            return (timestamp + shift) & 0xFFFFFFFF
        clock = self.track.clock_rate
        last = (old.last_timestamp + shift) & 0xFFFFFFFF
        aligned = timestamp_on(old.origin.last_report, new.origin.last_report, timestamp, clock)
        if aligned is not None:
            aligned = (aligned + shift) & 0xFFFFFFFF
            if 0 < (aligned - last) & 0xFFFFFFFF < 2 * clock:
                return aligned
        passed = min(max(now - old.origin.last_arrival, 0.001), 60.0)
        return (last + max(1, int(passed * clock))) & 0xFFFFFFFF

    def clear_target(self) -> None:
        """Stops sending and leaves all streams. The next switch continues the subscriber's numbers."""
        for encoding in (self.current, self.previous, self.target):
            if encoding is not None and self in encoding.down_tracks:
                encoding.down_tracks.remove(self)
        self.pause()
        self.target = None

    def pause(self) -> None:
        """Stops sending until the next switch to `target`."""
        self.highest_sent = self.last_sent()
        if self.current is not None:
            self.switch_history.end()
        self.previous, self.current = self.current or self.previous, None

    def last_sent(self) -> int:
        """Highest sequence number sent. Derived, so that the packet path does not have to store it."""
        if self.current is None:
            return self.highest_sent
        return (self.current.forwarded + self.offsets.sequence) & 0xFFFF

    def join(self, stream: RtpStream) -> None:
        """Takes the packets of a stream. Those to other nodes are sent first: they have further to go."""
        if self not in stream.down_tracks:
            stream.down_tracks.insert(0 if self.peer.trusted else len(stream.down_tracks), self)

    def set_target(self, encoding: RtpStream, now: float) -> bool:
        """Switches to `encoding` at its next keyframe; True if a keyframe has to be requested.

        A switch between layers of one encoding needs no keyframe, unless the new pictures are larger.
        """
        if self.target is encoding:
            return False
        if self.target is not None and self.target is not self.current and self in self.target.down_tracks:
            self.target.down_tracks.remove(self)
        self.target = encoding
        if encoding is self.current:
            return False
        self.join(encoding)
        self.keyframe_requested_at = now
        if (
            self.current is not None
            and self.is_forwarding(encoding.origin)
            and encoding.spatial <= self.current.spatial
        ):
            self.keyframe_requested_at = now + LAYER_SWITCH_TIMEOUT
            return False
        return True

    def packet_to_resend(
        self, sequence: int, now: float, *, is_lossy_link: bool | None = None
    ) -> tuple[Offsets, Packet] | None:
        """The packet sent under this sequence number and its offsets, if it may be retransmitted now.

        `is_lossy_link`: the loss is not congestion; None: not known. On a congested path, packets of an encoding that the
        subscriber no longer wants are not retransmitted: they would delay the keyframe of the next encoding.
        """
        if self.rtx_payload_type is None or not self._may_resend(sequence, now, is_lossy_link=is_lossy_link):
            return None
        segment = self.switch_history.find((self.last_sent() - sequence) & 0xFFFF, is_open=self.current is not None)
        if segment is None:
            return None
        stream = self.current or self.target
        wanted = stream.origin if stream is not None else None
        if is_lossy_link is False and segment.stream.origin is not wanted:
            return None
        packet = segment.stream.find((sequence - segment.offsets.sequence) & 0xFFFF)
        if packet is None:
            return None
        self._count_resend(sequence, now)
        return segment.offsets, packet

    def datagram_to_resend(self, sequence: int, now: float, *, is_lossy_link: bool | None = None) -> bytes | None:
        """The encrypted packet sent under this sequence number, for a subscriber without RTX, if it may be resent now."""
        datagram = self.datagrams[sequence % DATAGRAMS_KEPT] if self.datagrams is not None else None
        if (
            datagram is None
            or datagram[2] << 8 | datagram[3] != sequence
            or not self._may_resend(sequence, now, is_lossy_link=is_lossy_link)
        ):
            return None
        self._count_resend(sequence, now)
        return datagram

    def _may_resend(self, sequence: int, now: float, *, is_lossy_link: bool | None) -> bool:
        if (self.last_sent() - sequence) & 0xFFFF >= 0x8000:
            return False
        return self._resend_limits.admits(sequence, now, self.peer.clock.rtt, is_lossy_link=is_lossy_link)

    def _count_resend(self, sequence: int, now: float) -> None:
        self._resend_limits.count(sequence, now)
        self.retransmitted += 1

    def update_loss(self, share: float, now: float) -> None:
        """Takes the fraction of packets that the path loses, and adapts the redundancy of audio."""
        redundancy = self.redundancy
        if redundancy is None:
            return
        redundancy.update(share, now)
        if redundancy.level:
            self.track.lossy_down_tracks.add(self)
        else:
            self.track.lossy_down_tracks.discard(self)

    def sender_report(self, wall: float, clock_offset: float) -> SenderReport | None:
        """Our sender report at `wall` (seconds since 1900). `clock_offset` converts the publisher's clock to ours.

        All tracks of a publisher use one offset, which keeps audio and video in sync (RFC 3550 6.4.1).
        """
        source = self.current.origin.last_report if self.current is not None else None
        if source is None:
            return None
        since = wall - (source.ntp / NTP_UNITS + clock_offset)
        timestamp = (source.rtp_timestamp + self.offsets.timestamp + int(since * self.track.clock_rate)) & 0xFFFFFFFF
        octets = max(0, self.octets - self.packets * HEAD_SIZE) & 0xFFFFFFFF  # payload only, RFC 3550 6.4.1
        return SenderReport(self.ssrc, int(wall * NTP_UNITS), timestamp, self.packets & 0xFFFFFFFF, octets, ())
