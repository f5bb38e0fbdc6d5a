"""Track recording: playable files, and the room's event log next to them."""

import asyncio
import json
import os
import signal
from pathlib import Path

import av
import numpy as np

from sfu import cli
from tests.egress.support import ROOM, bots, egress_server, until
from tests.egress.test_live_stream import probe


def read(path: Path) -> tuple[list[np.ndarray], float]:
    """Luma of the pictures, and the peak sample."""
    with av.open(str(path)) as source:
        frames = [frame.to_ndarray(format="gray") for frame in source.decode(video=0)]
    with av.open(str(path)) as source:
        loudest = max(float(np.abs(frame.to_ndarray()).max()) for frame in source.decode(audio=0))
    return frames, loudest


async def test_each_track_becomes_one_file(tmp_path: Path) -> None:
    async with egress_server(tmp_path) as here, bots(here.server, 2):
        rooms = here.server.rooms
        await until(lambda: len(rooms.list()) == 1 and len(rooms.find(ROOM).publications) == 4)
        track_egress = here.server.egress_jobs.start_track_egress(rooms.find(ROOM))
        assert rooms.find(ROOM).egress.recording
        await until(lambda: track_egress.frames > 330)
        os.kill(track_egress.supervisor.pid, signal.SIGKILL)
        await until(lambda: track_egress.supervisor.starts == 2 and track_egress.frames > 200)
        await here.ask("DELETE", "/egress/tracks")
        await asyncio.wait_for(track_egress.task, 20)
        assert not rooms.find(ROOM).egress.recording
        (recording,) = (await here.ask("GET", "/recordings"))["recordings"]
        assert not recording["recording"]
        tracks = sorted(track_egress.directory.glob("*.webm"))
        assert len(tracks) == 8  # of two workers
        assert not list(track_egress.directory.glob("*.mkv"))
        for track in tracks:
            found = probe(track)
            assert set(found) & {"vp8", "opus", "vp9", "h264"}
            assert float(found["format"]["duration"]) > 0.5
        lines = [json.loads(line) for line in (track_egress.directory / "room.jsonl").read_text().splitlines()]
        assert {line["message"]["type"] for line in lines} >= {"members"}

        # the recorded tracks can be mixed later
        words = ["mix", str(track_egress.directory), "--picture", "320x180@300", "--layout", "grid"]
        assert await asyncio.to_thread(cli.main, words) == 0
        mix = track_egress.directory / "mix" / "recording.mp4"
        found = probe(mix)
        length = max(float(probe(track)["format"]["duration"]) for track in tracks)
        assert float(found["format"]["duration"]) > 1.5 * length
        frames, loudest = await asyncio.to_thread(read, mix)
        assert len(frames) > 100
        left, right = frames[60][40:140, :160], frames[60][40:140, 160:]
        assert left.std() > 10
        assert right.std() > 10
        assert loudest > 0.02
