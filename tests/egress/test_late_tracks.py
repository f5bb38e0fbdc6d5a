"""Recordings that start early: a stalled microphone and a later camera, each with the right length and time."""

import asyncio
from pathlib import Path

import numpy as np
import pytest

from sfu.egress.track_reader import recorded_tracks
from tests.egress.support import ROOM, bots, egress_server, until
from tests.support.broadcast import CLAP_EVERY, flashes, onsets

pytestmark = pytest.mark.quiet  # lips are judged to 40 ms
LIPS = 40.0
"""Milliseconds."""


async def test_tracks_that_begin_at_different_times_share_one_clock(tmp_path: Path) -> None:
    """The recording starts in an empty room; audio stalls from the first second on, video from the second one."""
    environment = {"STALLS": "sound 0.3 4; picture 1.5 3"}
    clapper = ("--publish", "clap", "--fps", "30")
    async with egress_server(tmp_path) as here:
        watcher = here.client("watcher")
        await watcher.join()
        await until(lambda: len(here.server.rooms.list()) == 1)
        track_egress = here.server.egress_jobs.start_track_egress(here.server.rooms.find(ROOM))
        async with bots(here.server, 1, *clapper, module="tests.support.stalling", environment=environment):
            await until(lambda: track_egress.frames > 300, 60)
            await asyncio.sleep(3)
        await here.ask("DELETE", "/egress/tracks")
        await asyncio.wait_for(track_egress.task, 30)
        await watcher.close()
    found = recorded_tracks(track_egress.directory)
    heard = [at + 1000 * one.started_at for one in found if not one.video for at in onsets(one.path.read_bytes())]
    seen = [
        shown - drawn + 1000 * one.started_at
        for one in found
        if one.video
        for shown, drawn in flashes(one.path.read_bytes())
    ]
    late = (np.array(heard) + CLAP_EVERY / 2) % CLAP_EVERY - CLAP_EVERY / 2
    assert min(len(heard), len(seen)) > 8
    assert np.percentile(np.abs(late), 90) < LIPS, late
    assert np.percentile(np.abs(seen), 90) < LIPS, seen
