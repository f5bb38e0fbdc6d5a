"""A worker that starts slowly, or gets no processor time for a while, on an overloaded machine is not replaced."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sfu.egress import hang_detector
from tests.egress.support import ROOM, bots, egress_server, until

pytestmark = pytest.mark.quiet  # it keeps all processors busy
LOOPS = 12 * (os.cpu_count() or 1)
"""Load that keeps the mixer's threads, which have a higher nice value, from running for seconds."""
BOUND = 90
"""Seconds after which the loops end by themselves."""
START_TIMEOUT = 7.0
"""Seconds that a start may take, of the worker's own time."""
STARVED_FOR = 10.0


@contextmanager
def busy(count: int) -> Iterator[None]:
    loop = f"import time\nend = time.monotonic() + {BOUND}\nwhile time.monotonic() < end: pass"
    running = [subprocess.Popen([sys.executable, "-c", loop]) for _ in range(count)]
    try:
        yield
    finally:
        for process in running:
            process.kill()
            process.wait()


async def test_a_worker_that_starts_on_a_busy_machine_is_not_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hang_detector, "START_TIMEOUT", START_TIMEOUT)
    ladder = '["1920x1080@4000", "1280x720@1500", "848x480@700"]'
    async with egress_server(tmp_path, outputs__renditions=ladder) as here, bots(here.server, 1):
        rooms = here.server.rooms
        await until(lambda: len(rooms.list()) == 1 and len(rooms.find(ROOM).publications) == 2, 30)
        with busy(LOOPS):
            await here.ask("PUT", "/egress", json={"live": True, "recording": True})
            job = here.job
            await asyncio.sleep(STARVED_FOR)
            assert job.supervisor.starts == 1, "the worker was replaced while it was starting"
        await until(lambda: job.live_stream is not None and job.live_stream.state.name == "LIVE", 60)
        assert job.supervisor.starts == 1
        await here.ask("DELETE", "/egress")
        await until(lambda: not len(here.server.egress_jobs), 30)
