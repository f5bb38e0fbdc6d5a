"""Trendline filter: the slope of the smoothed queueing delay over the last packet groups.

A least-squares line through 20 points, kept as running sums, so that the cost per group does not depend on the window.
draft-ietf-rmcat-gcc-02 5.3 asks for a filter of the delay gradient; this one is libwebrtc's TrendlineEstimator with its
values: smoothing 0.9, window 20.
"""

from collections import deque
from typing import Final

SMOOTHING: Final = 0.9
WINDOW: Final = 20


class Trendline:
    """Slope in milliseconds of delay per millisecond. Above 0 the queue grows, below 0 it drains."""

    __slots__ = (
        "_accumulated",
        "_origin",
        "_points",
        "_since",
        "_smoothed",
        "_sx",
        "_sxx",
        "_sxy",
        "_sy",
        "count",
        "slope",
    )

    def __init__(self) -> None:
        self._points: deque[tuple[float, float]] = deque()
        self._accumulated = self._smoothed = self._origin = 0.0
        self._sx = self._sxx = self._sxy = self._sy = 0.0
        self._since = 0
        self.count = 0
        """Number of groups, at most 60. A slope from few groups has less weight."""
        self.slope = 0.0

    def update(self, sent: float, arrived: float, when: float) -> float:
        """Adds a group: its deltas and its arrival time, all in milliseconds. Returns the slope."""
        if self.count < 60:
            self.count += 1
        points = self._points
        if self._since >= WINDOW or not points:
            self._renew(when)
        self._since += 1
        self._accumulated += arrived - sent
        y = self._smoothed = SMOOTHING * self._smoothed + (1 - SMOOTHING) * self._accumulated
        x = when - self._origin
        points.append((x, y))
        sx = self._sx + x
        sy = self._sy + y
        sxx = self._sxx + x * x
        sxy = self._sxy + x * y
        n = len(points)
        if n > WINDOW:
            x, y = points.popleft()
            sx -= x
            sy -= y
            sxx -= x * x
            sxy -= x * y
            n = WINDOW
        self._sx, self._sy, self._sxx, self._sxy = sx, sy, sxx, sxy
        if n == WINDOW:
            below = n * sxx - sx * sx
            if below > 1e-6:
                self.slope = (n * sxy - sx * sy) / below
        return self.slope

    def _renew(self, origin: float) -> None:
        """Recomputes the sums around a close origin and a zero delay, because running sums lose precision."""
        shift = origin - self._origin
        points = self._points
        level = self._smoothed
        self._accumulated -= level
        self._smoothed = 0.0
        moved = [(x - shift, y - level) for x, y in points]
        points.clear()
        points.extend(moved)
        self._origin = origin
        self._since = 0
        self._sx = sum(x for x, _ in moved)
        self._sy = sum(y for _, y in moved)
        self._sxx = sum(x * x for x, _ in moved)
        self._sxy = sum(x * y for x, y in moved)
