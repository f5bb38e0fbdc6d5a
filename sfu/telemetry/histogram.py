"""Histogram with Prometheus semantics, cheap enough to observe every join and every report.

Code that must not import this package (the packet path) keeps its own counts and exports them as a Distribution.
"""

from bisect import bisect_left
from dataclasses import dataclass

SECONDS = (
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.015, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0, 2.5, 5.0, 10.0,
)  # fmt: skip
"""Bounds for latencies, from a forwarded packet to a slow join. Includes those used by alerts (15, 50, 100, 300 ms)."""
RATIOS = (0.0, 0.001, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
"""Bounds for packet loss."""


@dataclass(frozen=True, slots=True)
class Distribution:
    """Observations since the start. The extra last element of `counts` is for values above the last bound."""

    bounds: tuple[float, ...] = ()
    counts: tuple[int, ...] = (0,)
    total: float = 0.0
    "Sum of all observed values."

    def __post_init__(self) -> None:
        if len(self.counts) != len(self.bounds) + 1:
            raise ValueError("a distribution must have one more count than bounds")


NOTHING = Distribution()
"""A distribution without bounds and observations."""


class Histogram:
    """Counts observations by upper bound."""

    __slots__ = ("_bounds", "_counts", "_total")

    def __init__(self, bounds: tuple[float, ...] = SECONDS) -> None:
        if list(bounds) != sorted(set(bounds)):
            raise ValueError("bounds must be strictly increasing")
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._total = 0.0

    def observe(self, value: float) -> None:
        self._counts[bisect_left(self._bounds, value)] += 1
        self._total += value

    def distribution(self) -> Distribution:
        return Distribution(self._bounds, tuple(self._counts), self._total)
