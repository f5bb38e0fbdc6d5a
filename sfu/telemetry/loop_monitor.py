"""Measures event loop lag, which listeners hear as gaps."""

import asyncio

from sfu.telemetry.histogram import Distribution, Histogram

INTERVAL = 0.25


class LoopMonitor:
    """Schedules a callback four times a second and records its delay. Call `start` in the loop and `close` at the end."""

    __slots__ = ("_due", "_lag", "_loop", "_timer", "_worst")

    def __init__(self) -> None:
        self._lag = Histogram()
        self._worst = 0.0
        self._due = 0.0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._arm(self._loop)

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._loop = None

    @property
    def lag(self) -> Distribution:
        return self._lag.distribution()

    def take_worst(self) -> float:
        """Maximum lag in seconds since the last call."""
        worst, self._worst = self._worst, 0.0
        return worst

    def _arm(self, loop: asyncio.AbstractEventLoop) -> None:
        self._due = loop.time() + INTERVAL
        self._timer = loop.call_at(self._due, self._tick)

    def _tick(self) -> None:
        if self._loop is None:
            return
        late = max(0.0, self._loop.time() - self._due)
        self._lag.observe(late)
        self._worst = max(self._worst, late)
        self._arm(self._loop)
