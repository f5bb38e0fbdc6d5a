"""A live room of bots: the stream, the recording, and the effects of a lost worker."""

import asyncio
import json
import os
import signal
import struct
import subprocess
from pathlib import Path
from typing import Any

from tests.egress.support import ROOM, bots, egress_server, until
from tests.support.wire import Rtp, rtp, vp8


def probe(path: str | Path) -> dict[str, dict[str, Any]]:
    """ffprobe's streams by codec, and the file under `format`."""
    answer = subprocess.run(
        ["ffprobe", "-v", "error", "-show_streams", "-show_format", "-show_chapters", "-of", "json", str(path)],
        check=True, capture_output=True, timeout=30,
    )  # fmt: skip
    found = json.loads(answer.stdout)
    streams = {stream["codec_name"]: stream for stream in found["streams"] if "width" in stream or "channels" in stream}
    return streams | {"format": found["format"], "chapters": {str(n): c for n, c in enumerate(found["chapters"])}}


async def test_live_stream_and_recording_survive_the_worker(tmp_path: Path) -> None:
    async with egress_server(tmp_path) as here, bots(here.server, 2):
        watcher = here.client("watcher")
        await watcher.join()
        rooms = here.server.rooms
        await until(lambda: len(rooms.list()) == 1 and len(rooms.find(ROOM).publications) == 4)
        await here.ask("PUT", "/egress", json={"live": True, "recording": True})
        assert rooms.find(ROOM).egress.recording
        updates = [event for event in watcher.events if event["type"] == "room_updated"]
        job = here.job
        await until(lambda: job.live_stream is not None and job.live_stream.state.name == "LIVE")
        await until(lambda: job.status is not None and job.status.tiles == 3)
        await until(lambda: updates or any(event["type"] == "room_updated" for event in watcher.events))
        assert job.recorder.participant.id not in {one.id for one in rooms.find(ROOM).members.visible()}

        # kill -9: a new worker within 2 s, a discontinuity for viewers, no effect on the meeting
        received: list[Rtp] = []

        def all_received() -> list[Rtp]:
            received.extend(watcher.media())
            return received

        def restarted() -> bool:
            all_received()
            return bool(job.supervisor.restart_times)

        await watcher.until(lambda: len(all_received()) > 20)
        received.clear()
        os.kill(job.supervisor.pid, signal.SIGKILL)
        await watcher.until(restarted)
        assert job.supervisor.restart_times[0] < 2.0
        assert "resumes in a moment" not in rooms.find(ROOM).egress.problem
        assert len(received) > 20 * job.supervisor.restart_times[0]
        live_stream = job.live_stream
        await until(lambda: live_stream is not None and live_stream.streams["180p"].last[0] >= 4)
        playlist = await here.playlist()
        assert playlist.count("#EXT-X-DISCONTINUITY\n") == 1
        assert "#EXT-X-PART:" in playlist

        ffmpeg = await asyncio.create_subprocess_exec(
            "ffmpeg", "-v", "error", "-y", "-live_start_index", "-3", "-i", here.index, "-t", "1.5", "-c", "copy",
            str(tmp_path / "seen.mp4"),
        )  # fmt: skip
        assert await asyncio.wait_for(ffmpeg.wait(), 30) == 0
        seen = probe(tmp_path / "seen.mp4")
        assert (seen["h264"]["width"], seen["h264"]["height"]) == (320, 180)
        assert seen["h264"]["color_space"] == "smpte170m"
        assert (seen["aac"]["sample_rate"], seen["aac"]["channels"]) == ("48000", 2)

        directory = job.recording.directory if job.recording is not None else Path()
        await here.ask("DELETE", "/egress")
        await until(lambda: not len(here.server.egress_jobs))
        assert not rooms.find(ROOM).egress.live
        await until(lambda: (directory / "recording.mp4").is_file())
        kept = probe(directory / "recording.mp4")
        assert {"h264", "aac"} <= set(kept)
        assert len(kept["chapters"]) >= 1
        assert float(kept["format"]["duration"]) > 3
        head = (directory / "recording.mp4").read_bytes()
        assert 0 < head.find(b"moov") < head.find(b"mdat")  # fast start
        async with asyncio.timeout(10):  # it is listed a moment after its file has its name
            while not (found := (await here.ask("GET", "/recordings"))["recordings"]):  # noqa: ASYNC110
                await asyncio.sleep(0.1)
        (recording,) = found
        assert recording["directory"] == str(directory.absolute())
        await watcher.close()


async def test_a_worker_that_hangs_is_replaced(tmp_path: Path) -> None:
    async with egress_server(tmp_path, egress__heartbeat_timeout="1.5") as here:
        guest = here.client("guest")
        await guest.join()
        await here.ask("PUT", "/egress", json={"live": True})
        job = here.job
        await until(lambda: job.status is not None)
        os.kill(job.supervisor.pid, signal.SIGSTOP)
        await until(lambda: job.restarts == 1)
        await until(lambda: job.status is not None)
        await guest.close()


async def test_undecodable_video_costs_at_most_a_worker(tmp_path: Path) -> None:
    """Keyframes with a size of 16k × 16k and zeros as data cost at most a worker; the egress continues."""
    async with egress_server(tmp_path) as here:
        guest = here.client("mallory")
        await guest.join()
        await guest.publish()
        await here.ask("PUT", "/egress", json={"live": True})
        job = here.job
        await until(lambda: job.status is not None)
        await until(lambda: job.status is not None and job.status.tiles == 1)
        huge = vp8(key=True, size=1000).replace(struct.pack("<HH", 640, 360), struct.pack("<HH", 16383, 16383))
        for number in range(100):
            guest.send()
            picture = rtp(
                huge,
                ssrc=2,
                sequence=1000 + number,
                timestamp=3000 * (1000 + number),
                extensions={4: b"1"},
                marker=True,
            )
            guest.publishing.send(picture)
            await asyncio.sleep(0.02)
        ticks = job.status.ticks if job.status is not None else 0
        await until(lambda: job.status is not None and job.status.ticks > ticks + 15)
        assert job.restarts <= 1
        await guest.close()
