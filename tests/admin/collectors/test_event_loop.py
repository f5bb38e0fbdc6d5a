"""Tasks, lag and stalls of the event loop."""

import asyncio

from sfu.admin.collectors.event_loop import EventLoopCollector
from sfu.telemetry.loop_monitor import LoopMonitor
from tests.support.metrics import samples


async def test_values() -> None:
    monitor = LoopMonitor()
    collector = EventLoopCollector(monitor, lambda: 7)
    before = samples(collector)
    others = [asyncio.create_task(asyncio.Event().wait()) for _ in range(3)]
    after = samples(collector)
    for task in others:
        task.cancel()
    assert after["sfu_tasks", ()] - before["sfu_tasks", ()] == 3
    assert after["sfu_loop_stalls_total", ()] == 7
    assert after["sfu_loop_lag_seconds_count", ()] == 0


def test_without_a_loop_there_are_no_tasks() -> None:
    assert samples(EventLoopCollector(LoopMonitor(), int))["sfu_tasks", ()] == 0
