"""Overuse detector: compares the delay slope with an adaptive threshold.

A fixed threshold either starves beside TCP or reacts to noise. The threshold therefore follows the slope: fast upwards
while the slope is above it, slowly downwards. draft-ietf-rmcat-gcc-02 5.4 with libwebrtc's values: initially 12.5 ms,
within 6–600, k_up 0.0087, k_down 0.039, overuse after 10 ms.
"""

from enum import Enum
from typing import Final

GAIN: Final = 4.0
START: Final = 12.5
LOWEST: Final = 6.0
HIGHEST: Final = 600.0
K_UP: Final = 0.0087
K_DOWN: Final = 0.039
OUTLIER: Final = 15.0
"""A slope that exceeds the threshold by this much is a change of the path; the threshold does not adapt to it."""
OVERUSE_AFTER: Final = 10.0
STEP_LIMIT: Final = 100.0


class BandwidthUsage(Enum):
    """State of the path according to the delay."""

    NORMAL = "normal"
    OVER = "over"
    UNDER = "under"


class OveruseDetector:
    """Overuse detector of one path. Times are milliseconds on the receiver's clock."""

    __slots__ = ("_count", "_over", "_slope", "_updated", "threshold", "usage")

    def __init__(self) -> None:
        self.threshold = START
        self.usage = BandwidthUsage.NORMAL
        self._over = -1.0
        """Milliseconds of overuse so far. −1: none."""
        self._count = 0
        self._slope = 0.0
        self._updated: float | None = None

    def update(self, slope: float, groups: int, sent: float, when: float) -> BandwidthUsage:
        """`groups`: number of groups behind the slope (at most 60). `sent`: milliseconds since the previous group."""
        trend = groups * slope * GAIN
        threshold = self.threshold
        if trend > threshold:
            self._over = sent / 2 if self._over < 0 else self._over + sent
            self._count += 1
            if self._over > OVERUSE_AFTER and self._count > 1 and slope >= self._slope:
                self._over, self._count = 0.0, 0
                self.usage = BandwidthUsage.OVER
        else:
            self._over, self._count = -1.0, 0
            self.usage = BandwidthUsage.UNDER if trend < -threshold else BandwidthUsage.NORMAL
        self._slope = slope
        size = abs(trend)
        updated = self._updated
        self._updated = when
        if updated is not None and size <= threshold + OUTLIER:
            factor = K_DOWN if size < threshold else K_UP
            threshold += factor * (size - threshold) * min(max(when - updated, 0.0), STEP_LIMIT)
            self.threshold = min(max(threshold, LOWEST), HIGHEST)
        return self.usage
