import asyncio
import time

from sfu.telemetry.loop_monitor import INTERVAL, LoopMonitor


async def test_a_stall_is_measured() -> None:
    monitor = LoopMonitor()
    monitor.start()
    await asyncio.sleep(0.01)
    time.sleep(INTERVAL + 0.2)  # noqa: ASYNC251  # the stall
    await asyncio.sleep(0.01)
    worst = monitor.take_worst()
    monitor.close()
    monitor.close()
    assert 0.1 < worst < 5
    assert sum(monitor.lag.counts) >= 1
    assert monitor.take_worst() == 0
    counts = monitor.lag.counts
    await asyncio.sleep(INTERVAL + 0.05)
    assert monitor.lag.counts == counts
