"""The rate by the loss, for paths whose queue is too short to show delay; and what loss is no sign of congestion.

Below 2 % the limit grows by 5 %, above 10 % it shrinks by half the loss, not more often than every 200 ms
(draft-ietf-rmcat-gcc-02 6). That rule alone takes a radio link with 15 % loss down to nothing, so loss without delay is
put to a test: what is sent shrinks to what arrived. If the loss stays, it is the link's own and does not count; if it
goes, the path was full.
"""

from collections import deque
from typing import Final

LOW: Final = 0.02
HIGH: Final = 0.10
GROWTH: Final = 1.05
ARRIVING: Final = 0.85
"""Of what arrives: it fits, so nothing less is asked for."""
GATE: Final = 0.2
WINDOW: Final = 1.0
"""Seconds that a share of loss is taken over: bursts are shorter."""
ENOUGH: Final = 20
"""Packets below which a share means nothing."""
TEST: Final = 2.0
"""Seconds, of which the first are for layers to switch."""
CURED: Final = 0.5
"""Loss that a test brought below this share of what it was came from congestion."""
OWN_LIMIT: Final = 0.35
"""More than this is never taken for the link's own."""
FORGET: Final = 0.04
LEARN: Final = 0.04
"""Per gate: the link's own loss follows what is seen, once a test has shown that there is any."""
TEST_LEAST: Final = 250_000.0
"""Bits per second below which loss without delay is hardly of our making: a picture stays possible."""


class LossLimit:
    """Upper limit by loss, bits per second; infinite while loss says nothing."""

    __slots__ = ("_acted", "_before", "_lost", "_parts", "_test_until", "_total", "_tried", "own", "rate", "share")

    def __init__(self) -> None:
        self.rate = float("inf")
        self.share = 0.0
        """Of the packets of the last second, what was lost."""
        self.own = 0.0
        """What the link loses however little is sent."""
        self._parts: deque[tuple[float, int, int]] = deque()
        self._lost = self._total = 0
        self._acted = float("-inf")
        self._test_until = float("-inf")
        self._before = self._tried = 0.0
        """Rate and loss before the test."""

    def update(self, lost: int, total: int, *, target: float, acked: float | None, delayed: bool, now: float) -> float:
        """One feedback: of `total` packets `lost` did not arrive. `delayed`: the delay speaks of congestion, too."""
        parts = self._parts
        parts.append((now, lost, total))
        self._lost += lost
        self._total += total
        while now - parts[0][0] > WINDOW:
            _, old_lost, old_total = parts.popleft()
            self._lost -= old_lost
            self._total -= old_total
        if self._total < ENOUGH:
            return self.rate
        share = self.share = self._lost / self._total
        if now - self._acted < GATE:
            return self.rate
        if self._test_until > 0:
            if now >= self._test_until:
                self._end_test(share)
            self._acted = now
            return self.rate
        if share < self.own:
            self.own += FORGET * (share - self.own)
        elif not delayed:
            self.own = min(OWN_LIMIT, self.own + LEARN * (share - self.own)) if self.own else 0.0
        excess = share - self.own
        if excess > max(HIGH, self.own):
            self._acted = now
            self._forget()  # each packet is lost once
            sending = target if acked is None else min(target, acked / (1 - min(share, 0.9)))
            if delayed:
                shrunk = min(self.rate, sending) * (1 - 0.5 * excess)
                self.rate = min(self.rate, max(shrunk, ARRIVING * (acked or 0.0)))
            else:
                self._before, self._tried = min(self.rate, target), share
                self.rate = min(self.rate, max(min(self.rate, sending) * (1 - min(0.5, excess)), TEST_LEAST))
                self._test_until = now + TEST
        elif excess < LOW and self.rate != float("inf"):
            self._acted = now
            self.rate *= GROWTH
            if self.rate > 2 * target:
                self.rate = float("inf")
        return self.rate

    def _forget(self) -> None:
        self._parts.clear()
        self._lost = self._total = 0

    def _end_test(self, share: float) -> None:
        self._test_until = float("-inf")
        if share > CURED * self._tried:
            self.own = min(OWN_LIMIT, (share + self._tried) / 2)
            self.rate = self._before
