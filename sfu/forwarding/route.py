"""One track on its way to one subscriber: which encoding it gets now, and how that encoding's numbers become its own.

A subscriber sees one continuous stream whatever is switched behind it: sequence numbers go on by one, timestamps go on by
the time that passed, VP8/VP9 picture ids and TL0PICIDX by one, dependency-descriptor frame numbers by one. All of it is a
set of offsets that changes only when the encoding does, so that the packet path adds constants.
"""

from collections import deque
from typing import TYPE_CHECKING, Final

from sfu.forwarding.encoding import NTP_UNITS, Encoding, timestamp_on
from sfu.forwarding.packet import Packet, Special
from sfu.rtp.rtcp import ReportBlock, SenderReport

if TYPE_CHECKING:
    from sfu.forwarding.peer import EnginePeer
    from sfu.forwarding.track import Track

RESEND_LIMIT: Final = 3
RESEND_PAUSE: Final = 0.1
"""A packet is sent again at most three times and not within 100 ms (an asker cannot turn one NACK into a flood)."""
RESENDS_KEPT: Final = 256
SEGMENTS: Final = 8
"""Switches remembered for retransmission; older packets are out of the history anyway."""


class Route:
    """Forwarding state of one (track, subscriber). Made by `Engine.add_route`."""

    __slots__ = (
        "_resends", "_segments", "cname", "current", "frame_offset", "high", "keyframe_wanted_at", "mid_word",
        "octets", "packets", "payload_types", "peer", "pict_offset", "previous", "reported", "retransmitted",
        "rewrites", "rtx_payload_type", "rtx_sequence", "rtx_ssrc", "sequence_offset", "ssrc", "switched_at",
        "switches", "takes_red", "target", "timestamp_offset", "tl0_offset", "track",
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
        self.takes_red = red_payload_type is not None
        self.rtx_payload_type = rtx_payload_type
        self.current: Encoding | None = None
        """What is sent now; None while paused or before the first keyframe."""
        self.previous: Encoding | None = None
        """What was sent before the pause: the stream goes on from there."""
        self.target: Encoding | None = None
        self.sequence_offset = 0
        self.timestamp_offset = 0
        self.pict_offset = 0
        self.tl0_offset = 0
        self.frame_offset = 0
        self.rewrites = False
        """Whether anything beyond the head changes."""
        self.high = (first_sequence - 1) & 0xFFFF
        """Highest sequence number sent, while nothing is; see `last_sent`."""
        self.rtx_sequence = first_sequence
        self.packets = 0
        self.octets = 0
        self.retransmitted = 0
        self.switches = 0
        self.switched_at = 0.0
        self.keyframe_wanted_at = 0.0
        self.reported: ReportBlock | None = None
        """The subscriber's newest report on this stream."""
        self._segments: deque[tuple[int, int, Encoding]] = deque(maxlen=SEGMENTS)
        """(first sequence number sent, offset, encoding), oldest first."""
        self._resends: dict[int, tuple[int, float]] = {}

    def switch(self, encoding: Encoding, packet: Packet, now: float) -> None:
        """From `packet` on, `encoding` is what the subscriber gets: computes the offsets that keep its stream whole."""
        old = self.current or self.previous
        sequence = (self.last_sent() + 1) & 0xFFFF
        timestamp = packet.timestamp
        if old is not None:
            timestamp = self._next_timestamp(old, encoding, packet.timestamp, now)
            self._continue_special(old.last_special, packet.special)
        self.sequence_offset = (sequence - packet.sequence) & 0xFFFF
        self.timestamp_offset = (timestamp - packet.timestamp) & 0xFFFFFFFF
        self.rewrites = bool(self.pict_offset or self.tl0_offset or self.frame_offset)
        self._segments.append((sequence, self.sequence_offset, encoding))
        if old is not None and old is not encoding and self in old.routes:
            old.routes.remove(self)
        self.current, self.previous = encoding, None
        self.switched_at = now
        self.switches += 1

    def _next_timestamp(self, old: Encoding, new: Encoding, timestamp: int, now: float) -> int:
        if old is new:
            return (timestamp + self.timestamp_offset) & 0xFFFFFFFF
        clock = self.track.clock_rate
        last = (old.last_timestamp + self.timestamp_offset) & 0xFFFFFFFF
        aligned = timestamp_on(old, new, timestamp)
        if aligned is not None:
            aligned = (aligned + self.timestamp_offset) & 0xFFFFFFFF
            if 0 < (aligned - last) & 0xFFFFFFFF < 2 * clock:
                return aligned
        passed = min(max(now - old.last_arrival, 0.001), 60.0)
        return (last + max(1, int(passed * clock))) & 0xFFFFFFFF

    def _continue_special(self, last: Special | None, new: Special | None) -> None:
        if last is None or new is None:
            return
        if last.picture_id_at and new.picture_id_at:
            self.pict_offset = (last.picture_id + self.pict_offset + 1 - new.picture_id) & 0x7FFF
        if last.tl0picidx_at and new.tl0picidx_at:
            self.tl0_offset = (last.tl0picidx + self.tl0_offset + 1 - new.tl0picidx) & 0xFF
        if last.frame_number_at and new.frame_number_at:
            self.frame_offset = (last.frame_number + self.frame_offset + 1 - new.frame_number) & 0xFFFF

    def park(self) -> None:
        """Stops sending; the next switch goes on where the stream was."""
        for encoding in (self.current, self.target):
            if encoding is not None and self in encoding.routes:
                encoding.routes.remove(self)
        self.pause()
        self.target = None

    def pause(self) -> None:
        """Stops sending, and goes on wanting what it wants."""
        self.high = self.last_sent()
        self.previous, self.current = self.current or self.previous, None

    def last_sent(self) -> int:
        """Highest sequence number sent. Derived, so that the packet path need not keep it."""
        if self.current is None:
            return self.high
        return (self.current.forwarded + self.sequence_offset) & 0xFFFF

    def aim(self, encoding: Encoding, now: float) -> bool:
        """Wants `encoding` from its next keyframe on; True when a keyframe has to be asked for."""
        if self.target is encoding:
            return False
        if self.target is not None and self.target is not self.current and self in self.target.routes:
            self.target.routes.remove(self)
        self.target = encoding
        if encoding is self.current:
            return False
        if self not in encoding.routes:
            encoding.routes.append(self)
        self.keyframe_wanted_at = now
        return True

    def special_bytes(self, special: Special) -> tuple[tuple[int, int], ...]:
        """(position, byte) pairs to write into an outbound packet."""
        out: list[tuple[int, int]] = []
        if special.picture_id_at and self.pict_offset:
            picture = (special.picture_id + self.pict_offset) & 0x7FFF
            if special.picture_id_bits == 15:
                out += ((special.picture_id_at, 0x80 | picture >> 8), (special.picture_id_at + 1, picture & 0xFF))
            else:
                out.append((special.picture_id_at, picture & 0x7F))
        if special.tl0picidx_at and self.tl0_offset:
            out.append((special.tl0picidx_at, (special.tl0picidx + self.tl0_offset) & 0xFF))
        if special.frame_number_at and self.frame_offset:
            frame = (special.frame_number + self.frame_offset) & 0xFFFF
            out += ((special.frame_number_at, frame >> 8), (special.frame_number_at + 1, frame & 0xFF))
        return tuple(out)

    def lost(self, sequence: int, now: float) -> tuple[Encoding, Packet] | None:
        """The packet that was sent under this number, if it may be sent again now."""
        if self.rtx_payload_type is None or (self.last_sent() - sequence) & 0xFFFF >= 0x8000:
            return None
        tries, last = self._resends.get(sequence, (0, float("-inf")))
        if tries >= RESEND_LIMIT or now - last < RESEND_PAUSE:
            return None
        for first, offset, encoding in reversed(self._segments):
            if (sequence - first) & 0xFFFF < 0x8000:
                packet = encoding.find((sequence - offset) & 0xFFFF)
                if packet is None:
                    return None
                self._resends[sequence] = (tries + 1, now)
                if len(self._resends) > RESENDS_KEPT:
                    del self._resends[next(iter(self._resends))]
                self.retransmitted += 1
                return encoding, packet
        return None

    def sender_report(self, wall: float, clock_offset: float) -> SenderReport | None:
        """Our sender report at `wall` (seconds since 1900). `clock_offset` turns the publisher's clock into ours.

        One offset per publisher, for all its tracks, keeps lips in sync: what the publisher said of audio and video
        stays as it was relative to each other (RFC 3550 6.4.1).
        """
        encoding = self.current
        if encoding is None or encoding.last_report is None:
            return None
        source = encoding.last_report
        since = wall - (source.ntp / NTP_UNITS + clock_offset)
        timestamp = (source.rtp_timestamp + self.timestamp_offset + int(since * self.track.clock_rate)) & 0xFFFFFFFF
        return SenderReport(
            self.ssrc, int(wall * NTP_UNITS), timestamp, self.packets & 0xFFFFFFFF, self.octets & 0xFFFFFFFF, ()
        )
