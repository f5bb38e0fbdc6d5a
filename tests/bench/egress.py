"""Cost of a live stream: the worker's processor time with four bots in a real room, live in several renditions.

    python -m tests.bench.egress --seconds 15

Everything counts: receiving, decoding, sound, composing, each encode, packaging. Bots send 360p30 (VP8), which fits a tile
of 720p, so that one layer suits it.
"""

import argparse
import asyncio
import tempfile
import time
from pathlib import Path

from tests.egress.support import ROOM, bots, egress_server, until

LADDERS = (
    ("480p + 720p", '["1280x720@1500", "848x480@700"]', 0.35),
    ("1080p + 720p + 480p", '["1920x1080@4000", "1280x720@1500", "848x480@700"]', 1.0),
)
BOTS = 4
SETTLING = 4.0


async def measure(renditions: str, seconds: float) -> tuple[float, int, int, float]:
    """Core, pictures dropped and made in that time, and resident megabytes."""
    with tempfile.TemporaryDirectory(prefix="bench-egress-") as directory:
        words = ("--size", "640x360", "--fps", "30")
        async with (
            egress_server(Path(directory), outputs__renditions=renditions) as here,
            bots(here.server, BOTS, *words),
        ):
            rooms = here.server.rooms
            await until(lambda: len(rooms.list()) == 1 and len(rooms.find(ROOM).publications) == 2 * BOTS, 30)
            await here.ask("PUT", "/egress", json={"live": True, "layout": "grid"})
            job = here.job
            await until(lambda: job.live_stream is not None and job.live_stream.state.name == "LIVE", 30)
            await until(lambda: job.status is not None and job.status.tiles == BOTS, 30)
            await asyncio.sleep(SETTLING)
            clock = ~job.supervisor.pid << 3 | 2
            before, began, status = time.clock_gettime(clock), time.monotonic(), job.status
            await asyncio.sleep(seconds)
            core = (time.clock_gettime(clock) - before) / (time.monotonic() - began)
            now = job.status
            assert status is not None
            assert now is not None
            assert not job.restarts
            return core, now.dropped_ticks - status.dropped_ticks, now.ticks - status.ticks, now.memory / 1e6


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=12)
    given = parser.parse_args()
    print("| renditions | worker, core | goal | pictures made | dropped | memory MB |\n|---|---|---|---|---|---|")
    failed = False
    for name, renditions, goal in LADDERS:
        core, dropped, made, memory = asyncio.run(measure(renditions, given.seconds))
        failed |= core > goal
        print(f"| {name} | {core:.3f} | {goal} | {made} | {dropped} | {memory:.0f} |", flush=True)
    return failed


if __name__ == "__main__":
    raise SystemExit(main())
