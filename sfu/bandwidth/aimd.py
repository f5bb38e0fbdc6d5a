"""Delay-based rate control: additive or multiplicative increase, multiplicative decrease on overuse.

The rate grows by 8 % per second while the capacity is unknown, and additively near the capacity of the last overuse.
draft-ietf-rmcat-gcc-02 5.5; libwebrtc's AimdRateControl where the draft leaves details open.
"""

from math import ceil, sqrt
from typing import Final

from sfu.bandwidth.overuse import BandwidthUsage

DECREASE_FACTOR: Final = 0.85
INCREASE_FACTOR: Final = 1.08
MIN_ADDITIVE_INCREASE: Final = 4000.0
"""Minimum additive increase in bits per second, per second."""
RESPONSE_TIME: Final = 0.1
"""Seconds until a rate change takes effect, in addition to the round-trip time."""
MAX_ACKED_RATIO: Final = 1.5
"""The rate does not grow beyond this multiple of the acknowledged bitrate, because an unused rate is no evidence of
capacity.
"""
ACKED_MARGIN: Final = 10_000.0
CAPACITY_SMOOTHING: Final = 0.05
"""Weight of a new sample in the capacity estimate."""


class Aimd:
    """Delay-based rate control of one path. Rates are bits per second, `now` is seconds."""

    __slots__ = (
        "_capacity", "_changed", "_decreased", "_deviation", "_holds", "least", "most", "rate",
    )  # fmt: skip

    def __init__(self, start: float, least: float, most: float) -> None:
        self.rate = start
        self.least, self.most = least, most
        self._capacity: float | None = None
        """Smoothed acknowledged bitrate at overuse, in kilobits per second. None: unknown."""
        self._deviation = 0.4
        self._holds = True
        self._changed = -1.0
        self._decreased = float("-inf")

    @property
    def near_capacity(self) -> bool:
        """Whether the rate is close to the known capacity, so that it grows additively."""
        return self._capacity is not None

    def update(self, usage: BandwidthUsage, acked: float | None, rtt: float, now: float) -> float:
        if self._changed < 0:
            self._changed = now
        if usage is BandwidthUsage.OVER:
            if self._can_decrease(acked, rtt, now):
                self._decrease(acked, now)
            self._holds = True
            self._changed = now
        elif usage is BandwidthUsage.UNDER:
            self._holds = True  # the queue drains, so arrivals do not show the capacity
            self._changed = now
        elif self._holds:
            self._holds = False
            self._changed = now
        else:
            self._increase(acked, rtt, now)
        return self.rate

    def raise_to(self, rate: float, now: float) -> None:
        """Raises the rate to the result of a probe."""
        if rate > self.rate:
            self.rate = min(rate, self.most)
            self._changed = now
            if self._capacity is not None and rate / 1000 > self._upper():
                self._capacity = None

    def lower_to(self, rate: float) -> None:
        """Lowers the rate for a reason other than delay."""
        self.rate = min(self.rate, max(rate, self.least))

    def _can_decrease(self, acked: float | None, rtt: float, now: float) -> bool:
        if now - self._decreased >= min(max(rtt, 0.01), 0.2):
            return True
        return acked is not None and acked < 0.5 * self.rate

    def _decrease(self, acked: float | None, now: float) -> None:
        rate = DECREASE_FACTOR * (self.rate if acked is None else acked)
        if rate > self.rate and self._capacity is not None:
            rate = DECREASE_FACTOR * self._capacity * 1000
        self.rate = max(min(rate, self.rate), self.least)
        self._decreased = now
        if acked is None:
            return
        sample = acked / 1000
        if self._capacity is not None and sample < self._capacity - 3 * self._spread():
            self._capacity = None
        if self._capacity is None:
            self._capacity = sample
        else:
            self._capacity += CAPACITY_SMOOTHING * (sample - self._capacity)
        error = self._capacity - sample
        deviation = (1 - CAPACITY_SMOOTHING) * self._deviation + CAPACITY_SMOOTHING * error * error / max(
            self._capacity, 1.0
        )
        self._deviation = min(max(deviation, 0.4), 2.5)

    def _increase(self, acked: float | None, rtt: float, now: float) -> None:
        passed = min(now - self._changed, 1.0)
        self._changed = now
        if acked is not None:
            if self._capacity is not None and acked / 1000 > self._upper():
                self._capacity = None
            limit = MAX_ACKED_RATIO * acked + ACKED_MARGIN
            if self.rate >= limit:
                return
        else:
            limit = self.most
        if self._capacity is not None:
            grown = self.rate + self._additive(rtt) * passed
        else:
            grown = max(self.rate * INCREASE_FACTOR**passed, self.rate + MIN_ADDITIVE_INCREASE * passed)
        self.rate = min(grown, limit, self.most)

    def _additive(self, rtt: float) -> float:
        """Additive increase in bits per second, per second: about one packet per response time."""
        frame = self.rate / 30
        packet = frame / ceil(frame / (1200 * 8))
        return max(MIN_ADDITIVE_INCREASE, packet / (2 * (rtt + RESPONSE_TIME)))

    def _spread(self) -> float:
        return sqrt(self._deviation * (self._capacity or 0.0))

    def _upper(self) -> float:
        return (self._capacity or 0.0) + 3 * self._spread()
