"""One inbound RTP stream of a track: a simulcast encoding (a rid), or the only stream there is.

Keeps what RFC 3550 asks of a receiver (6.4.1, A.3, A.8) and what is missing (NACK), besides what every stream that routes
take keeps.
"""

from typing import TYPE_CHECKING, Final

from sfu.forwarding.stream import Stream
from sfu.rtp.nack import NackGenerator
from sfu.rtp.rtcp import ReportBlock, SenderReport

if TYPE_CHECKING:
    from sfu.forwarding.layer_filter import LayerFilter
    from sfu.forwarding.track import Track

ALIVE_FOR: Final = 1.0
"""Seconds without a packet after which a video stream counts as not sending."""
NTP_UNITS: Final = 1 << 32


class Encoding(Stream):
    """Receive state of one SSRC. `now` is monotonic seconds. Owned by a Track; closed with it."""

    __slots__ = (
        "_base",
        "_expected_before",
        "_received_before",
        "_transit",
        "alive",
        "bound_at",
        "bytes",
        "first_arrival",
        "fraction_lost",
        "height",
        "jitter",
        "keyframes",
        "last_arrival",
        "last_report",
        "last_report_at",
        "layer_filter",
        "nack_generator",
        "packets",
        "received",
        "recovered",
        "repaired_ssrc",
        "resized",
        "rid",
        "rtx_ssrc",
        "ssrc",
        "structure",
        "width",
    )  # fmt: skip

    def __init__(self, track: "Track", rid: str) -> None:
        super().__init__(track)
        self.rid = rid
        self.ssrc = 0
        """0 until the first packet bound it."""
        self.rtx_ssrc = 0
        self.repaired_ssrc = 0
        """The `ssrc` at the time when `rtx_ssrc` was bound."""
        self.layer_filter: LayerFilter | None = None
        """What leaves layers out of it, while somebody wants it with some left out."""
        self.structure = b""
        """The newest dependency descriptor that says which layers there are; empty: none has come."""
        self.nack_generator: NackGenerator | None = NackGenerator(track.peer.nack_budget) if track.nack else None
        self.bound_at = float("-inf")
        """When its SSRC was learnt."""
        self._base = 0
        self.received = 0
        self._expected_before = 0
        self._received_before = 0
        self.fraction_lost = 0.0
        """Of the last report interval, 0–1."""
        self._transit = 0.0
        self.jitter = 0.0
        """Interarrival jitter in timestamp units."""
        self.last_report: SenderReport | None = None
        self.last_report_at = 0.0
        self.first_arrival = 0.0
        self.last_arrival = float("-inf")
        self.alive = False
        self.packets = 0
        self.bytes = 0
        self.keyframes = 0
        self.recovered = 0
        self.width = 0
        self.height = 0
        self.resized = False
        """Whether a keyframe changed the size and nobody was told yet."""

    @property
    def origin(self) -> "Encoding":
        return self

    def record_arrival(self, sequence: int, timestamp: int, now: float) -> bool:
        """Takes a packet's place in the stream; False when it is a duplicate or too old to matter."""
        highest = self.highest
        if highest < 0:
            self.highest = self._base = sequence
            self.received = 1
            self.first_arrival = now
            self._transit = now * self.track.clock_rate - timestamp
            self.last_timestamp = timestamp
            return True
        ahead = (sequence - highest) & 0xFFFF
        if ahead == 0:
            return False
        if ahead < 0x8000:
            if ahead > 1 and self.nack_generator is not None:
                self.nack_generator.gap(highest, sequence, now)
            if sequence < highest:
                self.cycles += 0x10000
            self.highest = sequence
            if timestamp != self.last_timestamp:
                self.last_timestamp = timestamp
                transit = now * self.track.clock_rate - timestamp
                change = abs(transit - self._transit)
                self._transit = transit
                if change < self.track.clock_rate:  # a timestamp jump is no jitter
                    self.jitter += (change - self.jitter) / 16
            self.received += 1
            return True
        if 0x10000 - ahead > self.mask:
            return False
        kept = self.history[sequence & self.mask]
        if kept is not None and kept.sequence == sequence:
            return False
        if self.nack_generator is not None:
            self.nack_generator.arrived(sequence)
        self.received += 1
        self.late = True
        return True

    def resize(self, width: int, height: int) -> None:
        """What a keyframe says of its pictures."""
        if width and (width != self.width or height != self.height):
            self.width, self.height = width, height
            self.resized = True

    def report(self, now: float) -> ReportBlock | None:
        """Reception report block since the last call (RFC 3550 6.4.1)."""
        if self.highest < 0:
            return None
        extended = self.cycles + self.highest
        expected = extended - self._base + 1
        lost = max(-0x800000, min(0x7FFFFF, expected - self.received))
        expected_interval = expected - self._expected_before
        lost_interval = expected_interval - (self.received - self._received_before)
        self._expected_before, self._received_before = expected, self.received
        fraction = 0
        if expected_interval > 0 and lost_interval > 0:
            fraction = min(255, (lost_interval << 8) // expected_interval)
        self.fraction_lost = fraction / 256
        middle = delay = 0
        if self.last_report is not None:
            middle = (self.last_report.ntp >> 16) & 0xFFFFFFFF
            delay = min(0xFFFFFFFF, int((now - self.last_report_at) * 65536))
        return ReportBlock(
            self.ssrc, fraction, lost, extended & 0xFFFFFFFF, int(self.jitter) & 0xFFFFFFFF, middle, delay
        )

    def sender_report(self, report: SenderReport, now: float) -> None:
        """The publisher's sender report: the map from this stream's timestamps to its clock."""
        self.last_report = report
        self.last_report_at = now

    def check_alive(self, now: float) -> bool:
        """Whether the stream sends; True when that changed."""
        alive = now - self.last_arrival < ALIVE_FOR
        if alive == self.alive:
            return False
        self.alive = alive
        if alive:
            self.first_arrival = now
        return True


def timestamp_on(old: Encoding, new: Encoding, timestamp: int) -> int | None:
    """`timestamp` of `new` as `old` would have stamped that moment, by both streams' sender reports; None without them."""
    a, b = old.last_report, new.last_report
    if a is None or b is None:
        return None
    clock = old.track.clock_rate
    between = (b.ntp - a.ntp) * clock // NTP_UNITS
    since = ((timestamp - b.rtp_timestamp + 0x80000000) & 0xFFFFFFFF) - 0x80000000
    return (a.rtp_timestamp + between + since) & 0xFFFFFFFF
