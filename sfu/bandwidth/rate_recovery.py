"""Recovery after a drop of the rate, which is often caused by a short competing download.

libwebrtc probes for the earlier rate in the same way. Rates in bits per second, `now` in monotonic seconds.
"""

from typing import Final

from sfu.bandwidth.prober import MIN_GAIN

RATE_DROP_RATIO: Final = 0.7
"""A decrease below this fraction of the best recent rate counts as a change of the path."""
RECOVERY_RATIO: Final = 0.85
"""Fraction of the rate before a drop that recovery probes aim for."""
RECOVERY_STEP_RATIO: Final = 1.5
"""Maximum recovery probe as a multiple of the current target."""
RECOVERY_DECAY: Final = 0.95
RECOVERY_PERIOD: Final = 30.0
"""Seconds after a drop during which recovery probes run (as in libwebrtc). Another drop in this period keeps
`RECOVERY_DECAY` of the earlier rate.
"""


class RateRecovery:
    """Remembers the best rate since the last drop, and the rate before it."""

    __slots__ = ("_best", "_dropped_at", "_dropped_from")

    def __init__(self, start: float) -> None:
        self._best = start
        self._dropped_at = float("-inf")
        self._dropped_from = 0.0

    def lowered(self, rate: float, now: float) -> bool:
        """Records a decrease to `rate`. Returns whether it counts as a drop."""
        if rate >= RATE_DROP_RATIO * self._best:
            return False
        known = self._dropped_from * RECOVERY_DECAY if self.active(now) else 0.0
        self._dropped_at, self._dropped_from = now, max(self._best, known)
        self._best = rate
        return True

    def raised(self, rate: float) -> None:
        self._best = max(self._best, rate)

    def active(self, now: float) -> bool:
        """Whether the last drop is recent."""
        return now - self._dropped_at < RECOVERY_PERIOD

    def rate_to_probe(self, target: float, ceiling: float) -> float:
        """The rate of the next recovery probe."""
        step = max(RECOVERY_STEP_RATIO * target, target + MIN_GAIN)
        return min(RECOVERY_RATIO * self._dropped_from, step, ceiling)
