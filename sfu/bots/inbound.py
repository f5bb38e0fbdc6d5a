"""One RTP stream received by a bot: statistics, reordering, retransmission requests and frame assembly.

Pure: packets to send are returned as values. RFC 3550 6.4.1 and appendix A, RFC 4585, RFC 4588.
"""

from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

from sfu.errors import MalformedPacket
from sfu.rtp.codecs import vp8
from sfu.rtp.nack import NackGenerator
from sfu.rtp.packet import Header
from sfu.rtp.rtcp import ReportBlock
from sfu.rtp.sequence import SequenceUnwrapper

GAP_TIMEOUT: Final = 0.6
"""Seconds to wait for the missing packets of a gap."""
HELD_LIMIT: Final = 1024
"""Packets buffered at most."""


class Frame(NamedTuple):
    """A complete encoded video frame, or one audio packet."""

    data: bytes
    timestamp: int
    key: bool


class _Held(NamedTuple):
    timestamp: int
    marker: bool
    begin: bool
    key: bool
    data: bytes


@dataclass(slots=True)
class Counts:
    """Counters of one stream since its start."""

    packets: int = 0
    octets: int = 0
    repaired: int = 0
    "Packets received as a retransmission."
    frames: int = 0
    "Complete frames whose references were complete as well."
    keyframes: int = 0
    skips: int = 0
    "Times that the picture froze until the next keyframe."


class InboundStream:
    """`now` is monotonic seconds."""

    def __init__(self, ssrc: int, kind: Literal["audio", "video"], codec: str, clock_rate: int) -> None:
        self.ssrc = ssrc
        self.kind = kind
        self.codec = codec
        self.clock_rate = clock_rate
        self.counts = Counts()
        self.nack = NackGenerator()
        self.wants_keyframe = kind == "video"
        self._unwrapper = SequenceUnwrapper()
        self._first = -1
        self._highest = -1
        self._next = -1
        "Sequence number at which the next frame starts."
        self._held: dict[int, _Held] = {}
        self._stuck_since: float | None = None
        self._started = kind == "audio"
        self._jitter = 0.0
        self._transit: float | None = None
        self._reported = (0, 0)
        self._sender_report = (0, 0.0)

    @property
    def lost(self) -> int:
        """Packets that arrived neither originally nor as a retransmission."""
        if self._first < 0:
            return 0
        return max(0, self._highest - self._first + 1 - self.counts.packets)

    def receive(self, header: Header, payload: bytes, now: float, *, repaired: bool = False) -> list[Frame]:
        """Returns the frames that this packet completes."""
        number = self._unwrapper.unwrap(header.sequence)
        if self._first < 0:
            self._first = self._highest = self._next = number
            self._highest -= 1
        if number < self._next or number in self._held:
            return []  # duplicate or too late
        self.counts.packets += 1
        self.counts.octets += len(payload)
        if number > self._highest:
            if number > self._highest + 1 and self.kind == "video":
                self.nack.gap(self._highest & 0xFFFF, number & 0xFFFF, now)
            self._highest = number
        elif self.nack.arrived(header.sequence) and repaired:
            self.counts.repaired += 1
        if not repaired:
            self._measure_jitter(header.timestamp, now)
        if self.kind == "audio":
            self._next = max(self._next, number - HELD_LIMIT)
            self._held[number] = _Held(0, False, False, False, b"")
            if len(self._held) > HELD_LIMIT:
                del self._held[next(iter(self._held))]
            self.counts.frames += 1
            return [Frame(payload, header.timestamp, True)] if payload else []
        self._held[number] = self._describe(header, payload)
        return self._advance(now)

    def handle_timer(self, now: float) -> list[Frame]:
        """Abandons a gap that is older than `GAP_TIMEOUT`."""
        if self._stuck_since is None or now - self._stuck_since < GAP_TIMEOUT:
            return []
        self._await_keyframe()
        self._next = min(self._held, default=self._highest + 1)
        self._stuck_since = None
        return self._advance(now)

    def sender_reported(self, ntp: int, now: float) -> None:
        self._sender_report = (ntp >> 16 & 0xFFFFFFFF, now)

    def report(self, now: float) -> ReportBlock | None:
        """Report block for the sender; None before the first packet."""
        if self._first < 0:
            return None
        expected = self._highest - self._first + 1
        before, received = self._reported
        new, arrived = expected - before, self.counts.packets - received
        self._reported = (expected, self.counts.packets)
        fraction = 0 if new <= 0 or arrived >= new else ((new - arrived) << 8) // new
        lsr, at = self._sender_report
        delay = int((now - at) * 65536) & 0xFFFFFFFF if lsr else 0
        return ReportBlock(self.ssrc, fraction, self.lost, self._highest, int(self._jitter), lsr, delay)

    def _describe(self, header: Header, payload: bytes) -> _Held:
        begin, key, data = True, True, payload
        if self.codec == "VP8" and payload:
            try:
                descriptor = vp8.describe(payload, 0, len(payload))
                begin, key, data = descriptor.begin, descriptor.keyframe, payload[_vp8_descriptor_length(payload) :]
            except MalformedPacket:
                data = b""
        return _Held(header.timestamp, header.marker, begin, key, data)

    def _advance(self, now: float) -> list[Frame]:
        """Removes complete frames from the buffer, in order."""
        held, found = self._held, []
        while True:
            end = self._next
            while end in held and not held[end].marker and held[end].data:
                end += 1
            packet = held.get(end)
            if packet is None:
                break
            parts = [held.pop(number) for number in range(self._next, end + 1)]
            self._next = end + 1
            data = b"".join([part.data for part in parts])
            first = parts[0]
            if not data:
                continue  # padding or probe packets
            if not self._started:
                if not (first.begin and first.key):
                    continue
                self._started = True
            if first.key:
                self.wants_keyframe = False
                self.counts.keyframes += self.codec == "VP8"
            self.counts.frames += 1
            found.append(Frame(data, first.timestamp, first.key))
        gap = self._next <= self._highest and any(number not in held for number in range(self._next, self._highest + 1))
        if not gap:
            self._stuck_since = None
        elif self._stuck_since is None or found:
            self._stuck_since = now
        if len(held) > HELD_LIMIT:  # a frame without an end, or too many packets after a gap
            held.clear()
            self._next, self._stuck_since = self._highest + 1, None
            self._await_keyframe()
        return found

    def _await_keyframe(self) -> None:
        self._started = False
        self.wants_keyframe = True
        self.counts.skips += 1

    def _measure_jitter(self, timestamp: int, now: float) -> None:
        transit = now * self.clock_rate - timestamp
        if self._transit is not None:
            deviation = abs(transit - self._transit)
            if deviation < self.clock_rate:  # ignore timestamp wraps and layer switches
                self._jitter += (deviation - self._jitter) / 16
        self._transit = transit


def _vp8_descriptor_length(payload: bytes) -> int:
    """Length of the VP8 payload descriptor (RFC 7741 4.2) of a payload that `vp8.describe` accepted."""
    if not payload[0] & 0x80:
        return 1
    present, at = payload[1], 2
    if present & 0x80:
        at += 2 if payload[at] & 0x80 else 1
    return at + (present >> 6 & 1) + (1 if present & 0x30 else 0)
