"""The rate by the delay: slowly up while nothing says otherwise, at once down when the path is overused.

Multiplicative (8 % a second) while the capacity is unknown, additive near the capacity that overuse showed last.
draft-ietf-rmcat-gcc-02 5.5 with libwebrtc's AimdRateControl for what the draft leaves open.
"""

from math import ceil, sqrt
from typing import Final

from sfu.bandwidth.overuse import BandwidthUsage

DECREASE: Final = 0.85
INCREASE: Final = 1.08
LEAST_STEP: Final = 4000.0
"""Bits per second, per second: additive growth is never slower."""
RESPONSE: Final = 0.1
"""Seconds that a change of the rate needs to show, beyond the round trip."""
BEYOND_ACKED: Final = 1.5
"""A rate that is not used proves nothing: no growth beyond this times what arrives."""
BEYOND_ACKED_LEAST: Final = 10_000.0
SMOOTHING: Final = 0.05
"""Of the capacity that overuse shows."""


class Aimd:
    """Bits per second; `now` in seconds."""

    __slots__ = (
        "_capacity", "_changed", "_decreased", "_deviation", "_holds", "least", "most", "rate",
    )  # fmt: skip

    def __init__(self, start: float, least: float, most: float) -> None:
        self.rate = start
        self.least, self.most = least, most
        self._capacity: float | None = None
        """Kilobits per second at which overuse was seen, smoothed; None: not known (any more)."""
        self._deviation = 0.4
        self._holds = True
        self._changed = -1.0
        self._decreased = float("-inf")

    @property
    def near_capacity(self) -> bool:
        """Growth is additive: the path is as good as full."""
        return self._capacity is not None

    def update(self, usage: BandwidthUsage, acked: float | None, rtt: float, now: float) -> float:
        if self._changed < 0:
            self._changed = now
        if usage is BandwidthUsage.OVER:
            if self._may_decrease(acked, rtt, now):
                self._decrease(acked, now)
            self._holds = True
            self._changed = now
        elif usage is BandwidthUsage.UNDER:
            self._holds = True  # the queue drains: what is measured now is not the capacity
            self._changed = now
        elif self._holds:
            self._holds = False
            self._changed = now
        else:
            self._increase(acked, rtt, now)
        return self.rate

    def raise_to(self, rate: float, now: float) -> None:
        """A probe proved this much."""
        if rate > self.rate:
            self.rate = min(rate, self.most)
            self._changed = now
            if self._capacity is not None and rate / 1000 > self._upper():
                self._capacity = None

    def lower_to(self, rate: float) -> None:
        """Something else than the delay says so."""
        self.rate = min(self.rate, max(rate, self.least))

    def _may_decrease(self, acked: float | None, rtt: float, now: float) -> bool:
        if now - self._decreased >= min(max(rtt, 0.01), 0.2):
            return True
        return acked is not None and acked < 0.5 * self.rate

    def _decrease(self, acked: float | None, now: float) -> None:
        rate = DECREASE * (self.rate if acked is None else acked)
        if rate > self.rate and self._capacity is not None:
            rate = DECREASE * self._capacity * 1000
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
            self._capacity += SMOOTHING * (sample - self._capacity)
        error = self._capacity - sample
        deviation = (1 - SMOOTHING) * self._deviation + SMOOTHING * error * error / max(self._capacity, 1.0)
        self._deviation = min(max(deviation, 0.4), 2.5)

    def _increase(self, acked: float | None, rtt: float, now: float) -> None:
        passed = min(now - self._changed, 1.0)
        self._changed = now
        if acked is not None:
            if self._capacity is not None and acked / 1000 > self._upper():
                self._capacity = None
            limit = BEYOND_ACKED * acked + BEYOND_ACKED_LEAST
            if self.rate >= limit:
                return
        else:
            limit = self.most
        if self._capacity is not None:
            grown = self.rate + self._additive(rtt) * passed
        else:
            grown = max(self.rate * INCREASE**passed, self.rate + LEAST_STEP * passed)
        self.rate = min(grown, limit, self.most)

    def _additive(self, rtt: float) -> float:
        """About a packet per response time."""
        frame = self.rate / 30
        packet = frame / ceil(frame / (1200 * 8))
        return max(LEAST_STEP, packet / (2 * (rtt + RESPONSE)))

    def _spread(self) -> float:
        return sqrt(self._deviation * (self._capacity or 0.0))

    def _upper(self) -> float:
        return (self._capacity or 0.0) + 3 * self._spread()
