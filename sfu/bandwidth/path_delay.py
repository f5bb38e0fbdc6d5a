"""Round-trip time and queueing delay of one path.

Clocks are not compared: the delay of a packet is relative to the fastest packet of the last minute. A standing queue
delays every packet. A busy receiver delays only some and sends feedback late, which is no reason to lower the rate. The
queueing delay is therefore the minimum of the last half second. Pure; seconds.
"""

from collections.abc import Sequence
from typing import Final

from sfu.bandwidth.twcc import TICKS_PER_SECOND

BASE_WINDOW: Final = 60.0
"""Seconds over which the minimum transit time is tracked. Limited because clocks drift."""
STANDING_WINDOW: Final = 0.5
"""Seconds over which every packet must be delayed for the queue to count as standing."""
SMOOTHING: Final = 1 / 8


class PathDelay:
    """Delays of one path, measured from its feedback."""

    __slots__ = (
        "_base_next", "_base_since", "_least", "_least_before", "_least_rtt", "_least_rtt_next",
        "_least_since", "base", "newest", "rtt",
    )  # fmt: skip

    def __init__(self) -> None:
        self.rtt: float | None = None
        """Smoothed round-trip time, including the receiver's feedback delay."""
        self.base = self._base_next = float("inf")
        """Minimum transit time of the last minute, offset by the arbitrary difference between the two clocks."""
        self.newest = 0.0
        """Queueing delay of the newest packet in seconds."""
        self._least_rtt = self._least_rtt_next = float("inf")
        self._base_since = float("-inf")
        self._least = self._least_before = float("inf")
        """Minimum queueing delay of the current half second and of the previous one."""
        self._least_since = float("-inf")

    @property
    def standing(self) -> float:
        """Recent queueing delay in seconds that affected every packet."""
        least = min(self._least, self._least_before)
        return least if least < float("inf") else 0.0

    @property
    def path_rtt(self) -> float | None:
        """Round-trip time without delays of the receiver and the return path: a busy browser answers late, and a lower
        send rate would not help.
        """
        if self.rtt is None:
            return None
        return min(self.rtt, self._least_rtt + self.standing)

    def update(self, times: Sequence[float], ticks: Sequence[int | None], now: float) -> None:
        """Processes one feedback: send times (0: unknown) and arrivals."""
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
        if now - self._least_since > STANDING_WINDOW:
            self._least_before, self._least, self._least_since = self._least, least, now
        else:
            self._least = min(self._least, least)
