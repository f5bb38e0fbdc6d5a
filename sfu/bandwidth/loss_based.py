"""Loss-based rate limit, for paths whose queues are too short to show delay, with a test for loss without congestion.

Below 2 % loss the limit grows by 5 %; above 10 % it shrinks by half the loss, at most every 200 ms
(draft-ietf-rmcat-gcc-02 6). This rule alone would reduce a radio link with 15 % loss to zero. Loss without delay
therefore starts a test: the rate shrinks to the acknowledged bitrate. If the loss persists, it is the link's own and is
ignored; if it disappears, the path was congested.
"""

from collections import deque
from typing import Final

LOW: Final = 0.02
HIGH: Final = 0.10
GROWTH: Final = 1.05
ACKED_FLOOR: Final = 0.85
"""Loss does not lower the limit below this fraction of the acknowledged bitrate."""
UPDATE_INTERVAL: Final = 0.2
WINDOW: Final = 1.0
"""Seconds over which the loss ratio is measured, longer than loss bursts."""
MIN_PACKETS: Final = 20
"""Minimum number of packets for a loss ratio."""
TEST_DURATION: Final = 2.0
"""Seconds, including the time that layer switches take."""
CONGESTION_LOSS_RATIO: Final = 0.5
"""If a test reduces the loss below this fraction, the loss came from congestion."""
MAX_LINK_LOSS: Final = 0.35
"""Maximum loss ratio that is attributed to the link."""
LINK_LOSS_DECAY: Final = 0.04
LINK_LOSS_GAIN: Final = 0.04
"""Gain per update with which the link loss follows the observed loss, after a test has detected link loss."""
TEST_MIN_RATE: Final = 250_000.0
"""Bits per second. A test does not go below this rate, so that video remains usable."""


class LossLimit:
    """Upper limit by loss in bits per second. Infinite without significant loss."""

    __slots__ = (
        "_acted",
        "_loss_before",
        "_lost",
        "_parts",
        "_rate_before",
        "_test_until",
        "_total",
        "link_loss",
        "rate",
        "share",
    )

    def __init__(self) -> None:
        self.rate = float("inf")
        self.share = 0.0
        """Loss ratio of the last second."""
        self.link_loss = 0.0
        """Loss ratio of the link, independent of the send rate."""
        self._parts: deque[tuple[float, int, int]] = deque()
        self._lost = self._total = 0
        self._acted = float("-inf")
        self._test_until = float("-inf")
        self._rate_before = self._loss_before = 0.0
        """Rate and loss ratio before the test."""

    def update(self, lost: int, total: int, *, target: float, acked: float | None, delayed: bool, now: float) -> float:
        """Processes one feedback: `lost` of `total` packets did not arrive. `delayed`: the delay also shows congestion."""
        parts = self._parts
        parts.append((now, lost, total))
        self._lost += lost
        self._total += total
        while now - parts[0][0] > WINDOW:
            _, old_lost, old_total = parts.popleft()
            self._lost -= old_lost
            self._total -= old_total
        if self._total < MIN_PACKETS:
            return self.rate
        share = self.share = self._lost / self._total
        if now - self._acted < UPDATE_INTERVAL:
            return self.rate
        if self._test_until > 0:
            if now >= self._test_until:
                self._end_test(share)
            self._acted = now
            return self.rate
        if share < self.link_loss:
            self.link_loss += LINK_LOSS_DECAY * (share - self.link_loss)
        elif not delayed:
            self.link_loss = (
                min(MAX_LINK_LOSS, self.link_loss + LINK_LOSS_GAIN * (share - self.link_loss))
                if self.link_loss
                else 0.0
            )
        excess = share - self.link_loss
        if excess > max(HIGH, self.link_loss):
            self._acted = now
            self._reset_window()  # count each lost packet only once
            sending = target if acked is None else min(target, acked / (1 - min(share, 0.9)))
            if delayed:
                shrunk = min(self.rate, sending) * (1 - 0.5 * excess)
                self.rate = min(self.rate, max(shrunk, ACKED_FLOOR * (acked or 0.0)))
            else:
                self._rate_before, self._loss_before = min(self.rate, target), share
                self.rate = min(self.rate, max(min(self.rate, sending) * (1 - min(0.5, excess)), TEST_MIN_RATE))
                self._test_until = now + TEST_DURATION
        elif excess < LOW and self.rate != float("inf"):
            self._acted = now
            self.rate *= GROWTH
            if self.rate > 2 * target:
                self.rate = float("inf")
        return self.rate

    def _reset_window(self) -> None:
        self._parts.clear()
        self._lost = self._total = 0

    def _end_test(self, share: float) -> None:
        self._test_until = float("-inf")
        if share > CONGESTION_LOSS_RATIO * self._loss_before:
            self.link_loss = min(MAX_LINK_LOSS, (share + self._loss_before) / 2)
            self.rate = self._rate_before
