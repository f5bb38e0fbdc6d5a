"""One inbound RTP stream of a track: a simulcast encoding (a RID), or the track's only stream.

It adds the receiver state of RFC 3550 (6.4.1, A.3, A.8) and the list of missing packets (NACK) to `Stream`.
"""

from typing import Final

from sfu.forwarding.layer_filter import LayerFilter
from sfu.forwarding.media_track import MediaTrack
from sfu.forwarding.stream import Stream
from sfu.rtp.nack import NackGenerator
from sfu.rtp.rtcp import ReportBlock, SenderReport

ALIVE_FOR: Final = 1.0
"""Seconds without a packet after which a video stream counts as silent."""


class Encoding(Stream):
    """Receive state of one SSRC. Owned by a Track. `now` is monotonic seconds."""

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

    def __init__(self, track: MediaTrack, rid: str) -> None:
        super().__init__(track)
        self.rid = rid
        self.ssrc = 0
        """0 until the first packet binds it."""
        self.rtx_ssrc = 0
        self.repaired_ssrc = 0
        """Value of `ssrc` when `rtx_ssrc` was bound."""
        self.layer_filter: LayerFilter | None = None
        """Set while at least one down track takes the encoding with layers left out."""
        self.structure = b""
        """The newest dependency descriptor with a template structure; empty if none has come."""
        self.nack_generator: NackGenerator | None = NackGenerator(track.peer.nack_budget) if track.nack else None
        self.bound_at = float("-inf")
        """Time when a packet bound the SSRC."""
        self._base = 0
        self.received = 0
        self._expected_before = 0
        self._received_before = 0
        self.fraction_lost = 0.0
        """Loss in the last report interval, 0–1."""
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
        """Whether a keyframe changed the size since the last event."""

    @property
    def origin(self) -> "Encoding":
        return self

    def record_arrival(self, sequence: int, timestamp: int, now: float) -> bool:
        """Records a packet; False if it is a duplicate or older than the history."""
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
                if change < self.track.clock_rate:  # a jump of the timestamps is not jitter
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
        """Takes the picture size of a keyframe; zeros if the keyframe does not contain it."""
        if width and (width != self.width or height != self.height):
            self.width, self.height = width, height
            self.resized = True

    def report(self, now: float) -> ReportBlock | None:
        """The reception report block for the interval since the last call (RFC 3550 6.4.1)."""
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
        """Takes the publisher's sender report, which maps the stream's timestamps to the publisher's clock."""
        self.last_report = report
        self.last_report_at = now

    def check_alive(self, now: float) -> bool:
        """Updates `alive`; True if it changed."""
        alive = now - self.last_arrival < ALIVE_FOR
        if alive == self.alive:
            return False
        self.alive = alive
        if alive:
            self.first_arrival = now
        return True
