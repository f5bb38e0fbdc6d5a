"""How long packets take on one path: the round trip, and how much of it they spend waiting in a queue.

Two clocks are never compared, only how much longer one packet took than the quickest of the last minute. A queue that
stands makes every packet wait; a busy receiver makes some wait and answers late, and is no reason to send less: what
counts as waiting is the least of the last half second. Pure; seconds.
"""

from collections.abc import Sequence
from typing import Final

from sfu.bandwidth.twcc import TICKS_PER_SECOND

BASE_WINDOW: Final = 60.0
"""Seconds in which the shortest way is looked for; clocks drift."""
STANDING: Final = 0.5
"""Seconds in which nothing came without waiting: a queue that stands."""
SMOOTHING: Final = 1 / 8


class PathDelay:
    """Of one path, from its feedback."""

    __slots__ = (
        "_base_next", "_base_since", "_least", "_least_before", "_least_rtt", "_least_rtt_next",
        "_least_since", "base", "newest", "rtt",
    )  # fmt: skip

    def __init__(self) -> None:
        self.rtt: float | None = None
        """Round trip as feedback tells it, with the time that the receiver waits before it tells; smoothed."""
        self.base = self._base_next = float("inf")
        """The quickest way of the last minute, by two clocks that differ by anything."""
        self.newest = 0.0
        """Seconds that the newest packet waited."""
        self._least_rtt = self._least_rtt_next = float("inf")
        self._base_since = float("-inf")
        self._least = self._least_before = float("inf")
        """Least waiting of this half second, and of the one before."""
        self._least_since = float("-inf")

    @property
    def standing(self) -> float:
        """Seconds that everything had to wait of late, however quickly it was sent."""
        least = min(self._least, self._least_before)
        return least if least < float("inf") else 0.0

    @property
    def path_rtt(self) -> float | None:
        """Round trip without what the receiver and the way back add to it: a busy browser answers late, and less
        towards it would not make it quicker."""
        if self.rtt is None:
            return None
        return min(self.rtt, self._least_rtt + self.standing)

    def update(self, times: Sequence[float], ticks: Sequence[int | None], now: float) -> None:
        """One feedback: when packets were sent (0: not known), and when they arrived."""
        newest = next(
            (
                (send, tick)
                for send, tick in zip(reversed(times), reversed(ticks), strict=True)
                if tick is not None and send
            ),
            None,
        )
        if newest is None:
            return
        send, tick = newest
        rtt = now - send
        if 0 <= rtt < 10:
            self.rtt = rtt if self.rtt is None else self.rtt + SMOOTHING * (rtt - self.rtt)
        way = tick / TICKS_PER_SECOND - send
        quickest = way
        for sent, arrived in zip(times, ticks, strict=True):
            if arrived is not None and sent:
                each = arrived / TICKS_PER_SECOND - sent
                if each < quickest:
                    quickest = each
        if now - self._base_since > BASE_WINDOW:
            self.base, self._base_next, self._base_since = min(self._base_next, quickest), quickest, now
            self._least_rtt, self._least_rtt_next = min(self._least_rtt_next, rtt), rtt
        self._least_rtt_next = min(self._least_rtt_next, rtt)
        self._least_rtt = min(self._least_rtt, rtt)
        self._base_next = min(self._base_next, quickest)
        self.base = min(self.base, quickest)
        self.newest = way - self.base
        least = quickest - self.base
        if now - self._least_since > STANDING:
            self._least_before, self._least, self._least_since = self._least, least, now
        else:
            self._least = min(self._least, least)
