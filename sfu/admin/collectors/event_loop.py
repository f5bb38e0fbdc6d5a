"""Metrics of the event loop."""

import asyncio
from collections.abc import Callable, Iterator

from prometheus_client.core import Metric

from sfu.telemetry.loop_monitor import LoopMonitor
from sfu.telemetry.metrics import Collector, counter, gauge, histogram


class EventLoopCollector(Collector):
    """`stalls`: number of times that the event loop was blocked for half a second or longer."""

    def __init__(self, monitor: LoopMonitor, stalls: Callable[[], int]) -> None:
        self._monitor = monitor
        self._stalls = stalls

    def collect(self) -> Iterator[Metric]:
        yield gauge("sfu_tasks", "Asyncio tasks.", _tasks())
        yield counter(
            "sfu_loop_stalls_total", "Times that the event loop was blocked; the log shows where.", self._stalls()
        )
        yield histogram("sfu_loop_lag_seconds", "Event loop lag, sampled four times a second.", self._monitor.lag)


def _tasks() -> int:
    try:
        return len(asyncio.all_tasks())
    except RuntimeError:  # no running event loop
        return 0
