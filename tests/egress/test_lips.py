"""Lip sync through the whole chain: the offset between flash and tone in the live stream and the recording."""

import asyncio
from pathlib import Path

import numpy as np
import pytest

from tests.egress.support import ROOM, bots, egress_server, until
from tests.support.broadcast import claps, fetch

pytestmark = pytest.mark.quiet  # the clapper draws and beeps by this machine's clock, judged to 40 ms
LIPS = 40.0
"""Milliseconds, at p95."""
SECONDS = 9
BUSY = 0.1
"""Share of pictures not made, above which the machine cannot be judged by."""


async def test_lip_sync_within_40_ms_in_live_stream_and_recording(tmp_path: Path) -> None:
    clapper = ("--publish", "clap", "--fps", "30")  # the last occurrence of an option wins
    async with egress_server(tmp_path, outputs__hls__public='["*"]') as here, bots(here.server, 1, *clapper):
        rooms = here.server.rooms
        await until(lambda: len(rooms.list()) == 1 and len(rooms.find(ROOM).publications) == 2)
        await here.ask("PUT", "/egress", json={"live": True, "recording": True, "layout": "single"})
        job = here.job
        await until(lambda: job.live_stream is not None and job.live_stream.state.name == "LIVE")
        await asyncio.sleep(SECONDS)
        watched = await fetch(here.http, f"{here.server.url}/hls/{ROOM}/index.m3u8", "180p")
        status, recording = job.status, job.recording
        assert status is not None
        assert recording is not None
        await here.ask("DELETE", "/egress")
        kept = recording.directory / "recording.mp4"
        await until(kept.is_file)

    for media in (watched[0], kept.read_bytes()):
        errors = [clap.error for clap in await asyncio.to_thread(claps, media)]
        assert len(errors) >= SECONDS
        if status.dropped_ticks > BUSY * status.ticks:
            pytest.skip("this machine was too busy for its figures to mean anything")
        assert float(np.percentile(np.abs(errors), 95)) < LIPS, errors
