"""Acknowledged bitrate: the rate at which packets arrive, according to feedback.

The first window is 500 ms long, later ones 150 ms. A sample weighs less the more it differs from the current estimate,
so that a single odd interval has little effect. Values and weighting follow libwebrtc's BitrateEstimator.
"""

from typing import Final

FIRST_WINDOW: Final = 0.5
WINDOW: Final = 0.15
UNCERTAINTY: Final = 10.0
VARIANCE_START: Final = 50.0
VARIANCE_STEP: Final = 5.0


class AcknowledgedBitrate:
    """Acknowledged bitrate in bits per second. None until the first window is complete."""

    __slots__ = ("_bytes", "_last", "_time", "_variance", "rate")

    def __init__(self) -> None:
        self._bytes = 0
        self._time = 0.0
        self._last = -1.0
        """Arrival of the newest packet on the receiver's clock; −1 before the first."""
        self._variance = VARIANCE_START
        self.rate: float | None = None

    def update(self, size: int, arrived: float) -> None:
        """Adds one feedback: `size` acknowledged bytes, the newest of which arrived at `arrived` (receiver's clock,
        seconds).
        """
        last = self._last
        if last < 0 or arrived - last > 2.0 or arrived < last - 2.0:
            self._last, self._bytes, self._time = arrived, 0, 0.0  # start, pause or a different clock
            return
        self._bytes += size
        if arrived <= last:
            return
        self._time += arrived - last
        self._last = arrived
        if self._time < (FIRST_WINDOW if self.rate is None else WINDOW):
            return
        sample = self._bytes * 8 / self._time
        self._bytes, self._time = 0, 0.0
        if self.rate is None:
            self.rate = sample
            return
        spread = UNCERTAINTY * abs(self.rate - sample) / (self.rate + min(sample, self.rate) + 1.0)
        square = spread * spread
        variance = self._variance + VARIANCE_STEP
        self.rate = (square * self.rate + variance * sample) / (square + variance)
        self._variance = square * variance / (square + variance)
