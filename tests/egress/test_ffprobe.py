"""All outputs of one egress job, each decoded completely by ffprobe without warnings."""

import asyncio
import json
from pathlib import Path
from typing import Any

import m3u8

from tests.egress.support import ROOM, bots, egress_server, until
from tests.support.broadcast import fetch
from tests.support.ports import free_port

FPS = 30
RENDITIONS = {"360p": (640, 360), "180p": (320, 180)}


async def probed(path: str | Path) -> dict[str, dict[str, Any]]:
    """Streams by kind. Decodes every frame; any warning fails the test."""
    process = await asyncio.create_subprocess_exec(
        "ffprobe", "-v", "warning", "-count_frames", "-show_streams", "-show_format", "-of", "json", str(path),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    output, errors = await asyncio.wait_for(process.communicate(), 60)
    # Chapters are also a text track, which has no decoder.
    complaints = [line for line in errors.decode().splitlines() if "Unsupported codec with id 98314" not in line]
    assert complaints == [], f"{path}: {complaints}"
    found = json.loads(output)
    return {stream["codec_type"]: stream for stream in found["streams"]} | {"format": found["format"]}


async def times(path: str | Path, kind: str) -> list[float]:
    """Times of all packets of the first stream of this kind."""
    process = await asyncio.create_subprocess_exec(
        "ffprobe", "-v", "error", "-select_streams", f"{kind}:0", "-show_entries", "packet=dts_time", "-of", "csv=p=0",
        str(path),
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    output, _ = await asyncio.wait_for(process.communicate(), 60)
    return [float(line.strip(",")) for line in output.decode().split()]


def is_mix(found: dict[str, dict[str, Any]], size: tuple[int, int]) -> None:
    video, audio = found["video"], found["audio"]
    assert (video["codec_name"], video["width"], video["height"]) == ("h264", *size)
    assert (video["pix_fmt"], video["color_range"], video["color_space"]) == ("yuv420p", "tv", "smpte170m")
    assert (video["color_primaries"], video["color_transfer"]) == ("smpte170m", "smpte170m")
    assert video["has_b_frames"] == 0
    assert int(video["nb_read_frames"]) > FPS / 2  # of at least three seconds: a busy machine makes fewer
    assert (audio["codec_name"], audio["profile"]) == ("aac", "LC")
    assert (audio["sample_rate"], audio["channels"]) == ("48000", 2)
    assert int(audio["nb_read_frames"]) > 47


async def grows(path: Path) -> None:
    for kind in ("v", "a"):
        found = await times(path, kind)
        assert found == sorted(set(found)), f"{path}: times of {kind} do not increase"


async def test_ffprobe_decodes_every_output_without_warnings(tmp_path: Path) -> None:
    port = free_port()
    ladder = json.dumps([f"{width}x{height}@300" for width, height in RENDITIONS.values()])
    settings = {"outputs__renditions": ladder, "outputs__hls__public": '["*"]', "egress__rtmp_allow_private": "true"}
    files: dict[Path, tuple[int, int]] = {}
    async with egress_server(tmp_path, **settings) as here, bots(here.server, 2):
        rooms = here.server.rooms
        await until(lambda: len(rooms.list()) == 1 and len(rooms.find(ROOM).publications) == 4)
        pushed = tmp_path / "pushed.mp4"
        server = await asyncio.create_subprocess_exec(
            "ffmpeg", "-v", "error", "-y", "-listen", "1", "-i", f"rtmp://127.0.0.1:{port}/app/key",
            "-t", "3", "-c", "copy", str(pushed),
        )  # fmt: skip
        await asyncio.sleep(0.5)
        await here.ask("PUT", "/egress", json={"live": True, "recording": True})
        await here.ask("POST", "/egress/destinations", json={"url": f"rtmp://127.0.0.1:{port}/app/key"})
        track_egress = here.server.egress_jobs.start_track_egress(rooms.find(ROOM))
        job = here.job
        await until(lambda: job.live_stream is not None and job.live_stream.streams["180p"].last[0] >= 4, 30)
        assert await asyncio.wait_for(server.wait(), 30) == 0
        files[pushed] = RENDITIONS["360p"]

        index = f"{here.server.url}/hls/{ROOM}/index.m3u8"
        for name, size in RENDITIONS.items():
            (media,) = await fetch(here.http, index, name)
            files[tmp_path / f"{name}.mp4"] = size
            (tmp_path / f"{name}.mp4").write_bytes(media)
        recording = job.recording
        assert recording is not None
        await here.ask("DELETE", "/egress")
        await here.ask("DELETE", "/egress/tracks")
        await asyncio.wait_for(track_egress.task, 20)
        kept = recording.directory / "recording.mp4"
        await until(kept.is_file)
        files[kept] = RENDITIONS["360p"]

        # Playlists of the ended stream, as a player without low latency reads them: the multivariant one, then each rendition.
        async with here.http.get(index) as answer:
            multivariant = m3u8.loads(await answer.text(), uri=str(answer.url))
        assert len(multivariant.playlists) == 2
        is_mix(await probed(index), RENDITIONS["360p"])
        for one in multivariant.playlists:
            is_mix(await probed(one.absolute_uri), one.stream_info.resolution)

    for path, size in files.items():
        is_mix(await probed(path), size)
        await grows(path)
    tracks = sorted(track_egress.directory.glob("*.webm"))
    assert len(tracks) == 4
    for path in tracks:
        found = await probed(path)
        (stream,) = (found[kind] for kind in ("video", "audio") if kind in found)
        assert stream["codec_name"] in ("vp8", "opus")
        assert int(stream["nb_read_frames"]) > 20
