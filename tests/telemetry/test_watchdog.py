"""sfu.telemetry.watchdog: a blocked loop is logged while it is blocked; a responsive one is not."""

import asyncio
import logging
import time

import pytest

from sfu.telemetry.watchdog import Watchdog


def culprit(seconds: float) -> None:
    time.sleep(seconds)


async def test_a_stall_is_counted_once_and_its_location_logged(caplog: pytest.LogCaptureFixture) -> None:
    watchdog = Watchdog(beat=0.02, patience=0.05)
    watchdog.start()
    try:
        with caplog.at_level(logging.WARNING):
            await asyncio.sleep(0.05)
            culprit(0.4)
            await asyncio.sleep(0.05)
    finally:
        watchdog.close()
    assert watchdog.stalls == 1
    (record,) = caplog.records
    assert any("culprit" in place for place in record.where)  # type: ignore[attr-defined]  # an attribute of `extra`


async def test_a_responsive_loop_is_not_reported(caplog: pytest.LogCaptureFixture) -> None:
    watchdog = Watchdog(beat=0.01, patience=5.0)
    watchdog.start()
    await asyncio.sleep(0.1)
    watchdog.close()
    watchdog.close()
    assert (watchdog.stalls, caplog.records) == (0, [])
