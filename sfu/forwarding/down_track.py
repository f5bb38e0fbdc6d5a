"""One track on its way to one subscriber: which encoding it gets now, and how that encoding's numbers become its own.

A subscriber sees one continuous stream whatever is switched behind it: sequence numbers go on by one, timestamps go on by
the time that passed, VP8/VP9 picture ids and TL0PICIDX by one, dependency-descriptor frame numbers by one. All of it is a
set of offsets that changes only when the encoding does, so that the packet path adds constants.
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from sfu.forwarding.encoding import NTP_UNITS, timestamp_on
from sfu.forwarding.packet import HEAD_SIZE, CodecPatch, Packet
from sfu.forwarding.redundancy import Redundancy
from sfu.forwarding.stream import Stream
from sfu.rtp.rtcp import ReportBlock, SenderReport

if TYPE_CHECKING:
    from sfu.forwarding.encoding import Encoding
    from sfu.forwarding.peer import EnginePeer
    from sfu.forwarding.track import Track

SentCallback = Callable[[tuple[int, Sequence[int], float]], None]
"""Takes (first transport-wide number, sizes, when) of packets that go out together: a path's history."""

RESEND_LIMIT: Final = 3
RESEND_PAUSE: Final = 0.1
"""A packet is sent again at most three times and not within 100 ms: what is lost for want of room would be lost again, and
an asker cannot turn one NACK into a flood."""
LOSSY_LINK_LIMIT: Final = 6
"""Where packets are lost for another reason: of 10,000, a fifth of all lost, one does not come."""
ROUND: Final = 0.8
"""Of the round trip, within which nobody can know that a repair was lost; askers' timers are not exact."""
LEAST_PAUSE: Final = 0.01
MOST_PAUSE: Final = 0.4
RESENDS_KEPT: Final = 1024
"""More than a history holds, so that no packet's count is forgotten while the packet is there."""
LAYER_PATIENCE: Final = 2.0
"""Seconds that more layers may be waited for before a keyframe is asked for: they begin several times a second."""
SEGMENTS: Final = 8
"""Switches remembered for retransmission; older packets are out of the history anyway."""


class Offsets(NamedTuple):
    """What to add to an encoding's numbers to make them the subscriber's. Changes only with the encoding."""

    sequence: int = 0
    timestamp: int = 0
    picture: int = 0
    tl0picidx: int = 0
    frame: int = 0
    rewrites: bool = False
    "Whether anything beyond the head changes."


@dataclass(slots=True)
class Segment:
    """A stretch of the subscriber's stream that came from one encoding."""

    encoding: Stream
    offsets: Offsets
    start: int
    "The encoding's extended sequence number of its first packet."
    length: int = 0
    "Sequence numbers in it, once it has ended."

    def span(self, *, open_: bool) -> int:
        return self.encoding.extended_forwarded() - self.start + 1 if open_ else self.length


class DownTrack:
    """Forwarding state of one (track, subscriber). Made by `Engine.add_down_track`."""

    __slots__ = (
        "_resends",
        "_segments",
        "cname",
        "current",
        "highest_sent",
        "keyframe_requested_at",
        "last_report_block",
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
        "switches",
        "target",
        "track",
    )  # fmt: skip

    def __init__(
        self,
        track: "Track",
        peer: "EnginePeer",
        *,
        mid: str,
        ssrc: int,
        rtx_ssrc: int,
        payload_type: int,
        red_payload_type: int | None,
        rtx_payload_type: int | None,
        first_sequence: int,
        cname: str,
    ) -> None:
        if len(mid) != 2 or not mid.isascii():
            raise ValueError(f"mid must be two ASCII characters, not {mid!r}")
        self.track = track
        self.peer = peer
        self.cname = cname
        self.mid_word = ord(mid[0]) << 8 | ord(mid[1])
        self.ssrc = ssrc
        self.rtx_ssrc = rtx_ssrc
        self.payload_types = (payload_type, payload_type if red_payload_type is None else red_payload_type)
        """By `Packet.codec_index`."""
        self.supports_red = red_payload_type is not None
        self.rtx_payload_type = rtx_payload_type
        self.current: Stream | None = None
        """What is sent now; None while paused or before the first keyframe."""
        self.previous: Stream | None = None
        """What was sent before the pause: the stream goes on from there."""
        self.target: Stream | None = None
        self.offsets = Offsets()
        self.highest_sent = (first_sequence - 1) & 0xFFFF
        """Highest sequence number sent, while nothing is; see `last_sent`."""
        self.rtx_sequence = first_sequence
        self.packets = 0
        self.octets = 0
        self.retransmitted = 0
        self.switches = 0
        self.keyframe_requested_at = 0.0
        self.redundancy = Redundancy() if self.supports_red else None
        """How much of the sound is sent twice."""
        self.last_report_block: ReportBlock | None = None
        """The subscriber's newest report on this stream."""
        self.on_sent: SentCallback | None = None
        """Is told of what is sent; None where nobody tells what arrives."""
        self._segments: deque[Segment] = deque(maxlen=SEGMENTS)
        """Oldest first; the last one is open while `current` is not None."""
        self._resends: dict[int, tuple[int, float]] = {}

    @classmethod
    def null_tap(cls, stream: Stream) -> "DownTrack":
        """A route that takes nothing: what has no route at all is not handed on."""
        track = stream.track
        return cls(
            track, track.peer, mid="00", ssrc=0, rtx_ssrc=0, payload_type=0, red_payload_type=None,
            rtx_payload_type=None, first_sequence=0, cname="",
        )  # fmt: skip

    def switch(self, encoding: Stream, packet: Packet, now: float) -> None:
        """From `packet` on, `encoding` is what the subscriber gets: computes the offsets that keep its stream whole."""
        sequence = (self.last_sent() + 1) & 0xFFFF
        self._end_segment()
        old = self.current or self.previous
        timestamp = packet.timestamp
        picture = tl0picidx = frame = 0
        if old is not None:
            timestamp = self._next_timestamp(old, encoding, packet.timestamp, now)
            picture, tl0picidx, frame = self._continued(old.last_codec_patch, packet.codec_patch)
        self.offsets = Offsets(
            (sequence - packet.sequence) & 0xFFFF,
            (timestamp - packet.timestamp) & 0xFFFFFFFF,
            picture,
            tl0picidx,
            frame,
            bool(picture or tl0picidx or frame),
        )
        self._segments.append(Segment(encoding, self.offsets, encoding.extended(packet.sequence)))
        if old is not None and old is not encoding and self in old.down_tracks:
            old.down_tracks.remove(self)
        self.current, self.previous = encoding, None
        self.switches += 1

    def switch_layers(self, stream: Stream, packet: Packet) -> None:
        """From `packet` on, which neither has taken yet, other layers of the same encoding: every number goes on by itself."""
        old, offsets = self.current, self.offsets
        assert old is not None
        newest = self._segments[-1]
        newest.length = max(0, old.extended((packet.sequence - old.shift) & 0xFFFF) - newest.start)
        picture = (offsets.picture + stream.picture_shift - old.picture_shift) & 0x7FFF
        self.offsets = offsets._replace(
            sequence=(offsets.sequence + stream.shift - old.shift) & 0xFFFF,
            picture=picture,
            rewrites=bool(picture or offsets.tl0picidx or offsets.frame),
        )
        start = stream.extended((packet.sequence - stream.shift) & 0xFFFF)
        self._segments.append(Segment(stream, self.offsets, start))
        if self in old.down_tracks:
            old.down_tracks.remove(self)
        self.current = stream
        self.switches += 1

    def is_forwarding(self, encoding: "Encoding") -> bool:
        """Whether it is sent this encoding now, all of it or some layers."""
        return self.current is not None and self.current.origin is encoding

    def _end_segment(self) -> None:
        if self.current is not None and self._segments:
            newest = self._segments[-1]
            newest.length = max(0, newest.span(open_=True))

    def _next_timestamp(self, old: Stream, new: Stream, timestamp: int, now: float) -> int:
        shift = self.offsets.timestamp
        if old.origin is new.origin:
            return (timestamp + shift) & 0xFFFFFFFF
        clock = self.track.clock_rate
        last = (old.last_timestamp + shift) & 0xFFFFFFFF
        aligned = timestamp_on(old.origin, new.origin, timestamp)
        if aligned is not None:
            aligned = (aligned + shift) & 0xFFFFFFFF
            if 0 < (aligned - last) & 0xFFFFFFFF < 2 * clock:
                return aligned
        passed = min(max(now - old.origin.last_arrival, 0.001), 60.0)
        return (last + max(1, int(passed * clock))) & 0xFFFFFFFF

    def _continued(self, last: CodecPatch | None, new: CodecPatch | None) -> tuple[int, int, int]:
        """Offsets of picture id, TL0PICIDX and frame number that make `new` follow `last`."""
        _, _, picture, tl0picidx, frame, _ = self.offsets
        if last is None or new is None:
            return picture, tl0picidx, frame
        if last.picture_id_at and new.picture_id_at:
            picture = (last.picture_id + picture + 1 - new.picture_id) & 0x7FFF
        if last.tl0picidx_at and new.tl0picidx_at:
            tl0picidx = (last.tl0picidx + tl0picidx + 1 - new.tl0picidx) & 0xFF
        if last.frame_number_at and new.frame_number_at:
            frame = (last.frame_number + frame + 1 - new.frame_number) & 0xFFFF
        return picture, tl0picidx, frame

    def clear_target(self) -> None:
        """Stops sending; the next switch goes on where the stream was."""
        for encoding in (self.current, self.previous, self.target):
            if encoding is not None and self in encoding.down_tracks:
                encoding.down_tracks.remove(self)
        self.pause()
        self.target = None

    def pause(self) -> None:
        """Stops sending, and goes on wanting what it wants."""
        self.highest_sent = self.last_sent()
        self._end_segment()
        self.previous, self.current = self.current or self.previous, None

    def is_before_switch(self, packet: Packet) -> bool:
        """Whether a packet that came late belongs to what was before the newest switch: it has no number here."""
        newest = self._segments[-1]
        return newest.encoding.extended(packet.sequence) < newest.start

    def last_sent(self) -> int:
        """Highest sequence number sent. Derived, so that the packet path need not keep it."""
        if self.current is None:
            return self.highest_sent
        return (self.current.forwarded + self.offsets.sequence) & 0xFFFF

    def set_target(self, encoding: Stream, now: float) -> bool:
        """Wants `encoding` from its next keyframe on; True when a keyframe has to be asked for.

        Other layers of the encoding that it is sent are had sooner, unless they are larger pictures.
        """
        if self.target is encoding:
            return False
        if self.target is not None and self.target is not self.current and self in self.target.down_tracks:
            self.target.down_tracks.remove(self)
        self.target = encoding
        if encoding is self.current:
            return False
        if self not in encoding.down_tracks:
            encoding.down_tracks.append(self)
        self.keyframe_requested_at = now
        if (
            self.current is not None
            and self.is_forwarding(encoding.origin)
            and encoding.spatial <= self.current.spatial
        ):
            self.keyframe_requested_at = now + LAYER_PATIENCE
            return False
        return True

    def packet_to_resend(
        self, sequence: int, now: float, *, is_lossy_link: bool | None = None
    ) -> tuple[Offsets, Packet] | None:
        """The packet that was sent under this number and how, if it may be sent again now.

        `is_lossy_link`: it was not lost for want of room; None: nobody knows. Where there is no room, a picture that has been
        given up for another size is not mended: its packets would push out the keyframe of the next.
        """
        back = (self.last_sent() - sequence) & 0xFFFF
        if self.rtx_payload_type is None or back >= 0x8000:
            return None
        tries, last = self._resends.get(sequence, (0, float("-inf")))
        round_trip = ROUND * self.peer.rtt if self.peer.rtt is not None else RESEND_PAUSE
        pause = min(max(round_trip, LEAST_PAUSE if is_lossy_link else RESEND_PAUSE), MOST_PAUSE)
        if tries >= (LOSSY_LINK_LIMIT if is_lossy_link else RESEND_LIMIT) or now - last < pause:
            return None
        stream = self.current or self.target
        wanted = stream.origin if stream is not None else None
        for index, segment in enumerate(reversed(self._segments)):
            span = segment.span(open_=index == 0 and self.current is not None)
            if back >= span:
                back -= span
                continue
            if is_lossy_link is False and segment.encoding.origin is not wanted:
                return None
            packet = segment.encoding.find((sequence - segment.offsets.sequence) & 0xFFFF)
            if packet is None:
                return None
            self._resends[sequence] = (tries + 1, now)
            if len(self._resends) > RESENDS_KEPT:
                del self._resends[next(iter(self._resends))]
            self.retransmitted += 1
            return segment.offsets, packet
        return None

    def update_loss(self, share: float, now: float) -> None:
        """The share of packets that this subscriber's path loses: its sound is made as redundant as that asks for."""
        redundancy = self.redundancy
        if redundancy is None:
            return
        redundancy.update(share, now)
        if redundancy.level:
            self.track.lossy_down_tracks.add(self)
        else:
            self.track.lossy_down_tracks.discard(self)

    def sender_report(self, wall: float, clock_offset: float) -> SenderReport | None:
        """Our sender report at `wall` (seconds since 1900). `clock_offset` turns the publisher's clock into ours.

        One offset per publisher, for all its tracks, keeps lips in sync: what the publisher said of audio and video
        stays as it was relative to each other (RFC 3550 6.4.1).
        """
        source = self.current.origin.last_report if self.current is not None else None
        if source is None:
            return None
        since = wall - (source.ntp / NTP_UNITS + clock_offset)
        timestamp = (source.rtp_timestamp + self.offsets.timestamp + int(since * self.track.clock_rate)) & 0xFFFFFFFF
        octets = max(0, self.octets - self.packets * HEAD_SIZE) & 0xFFFFFFFF  # payload only, RFC 3550 6.4.1
        return SenderReport(self.ssrc, int(wall * NTP_UNITS), timestamp, self.packets & 0xFFFFFFFF, octets, ())


def patched_bytes(codec_patch: CodecPatch, offsets: Offsets) -> list[tuple[int, int]]:
    """(position, byte) pairs to write into an outbound packet."""
    out: list[tuple[int, int]] = []
    if codec_patch.picture_id_at and offsets.picture:
        picture = (codec_patch.picture_id + offsets.picture) & 0x7FFF
        if codec_patch.picture_id_bits == 15:
            out += ((codec_patch.picture_id_at, 0x80 | picture >> 8), (codec_patch.picture_id_at + 1, picture & 0xFF))
        else:
            out.append((codec_patch.picture_id_at, picture & 0x7F))
    if codec_patch.tl0picidx_at and offsets.tl0picidx:
        out.append((codec_patch.tl0picidx_at, (codec_patch.tl0picidx + offsets.tl0picidx) & 0xFF))
    if codec_patch.frame_number_at and offsets.frame:
        frame = (codec_patch.frame_number + offsets.frame) & 0xFFFF
        out += ((codec_patch.frame_number_at, frame >> 8), (codec_patch.frame_number_at + 1, frame & 0xFF))
    return out
