"""Joins of the last seconds, which are not yet part of the measured load of a node."""

from collections import deque
from dataclasses import dataclass, field
from typing import Final

JOINS_PERIOD: Final = 20.0
"""Seconds of joins that a node announces beside its load."""


@dataclass(slots=True)
class RecentJoins:
    """Joins of the last `JOINS_PERIOD` seconds, from a counter."""

    _samples: deque[tuple[float, int]] = field(default_factory=deque)

    def count(self, now: float, total: int) -> int:
        self._samples.append((now, total))
        while self._samples[0][0] < now - JOINS_PERIOD:
            self._samples.popleft()
        return total - self._samples[0][1]
