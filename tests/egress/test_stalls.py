"""Stalled capture and clock steps through the whole chain: the effect on the live stream and the recordings."""

import asyncio
from pathlib import Path

import numpy as np
import pytest

from sfu import cli
from sfu.egress.track_reader import recorded_tracks
from tests.egress.support import ROOM, bots, egress_server, until
from tests.support.broadcast import CLAP_EVERY, claps, fetch, flashes, onsets

pytestmark = pytest.mark.quiet  # a pause of the encoder is a loss of sound
LIPS = 40.0
"""Milliseconds between picture and sound, median of each stretch between two stalls."""
LOST = 1.0
"""Seconds of sound that a stall or a step may cost beyond itself."""
LONG = (("sound", 4, 0.3), ("sound", 6.5, 1.0), ("picture", 9.5, 1.0), ("both", 12.5, 2.5), ("back", 17, 0.5),
        ("forward", 19.5, 0.7), ("sound", 22, 0.12))  # fmt: skip
SHORT = (("sound", 4, 1.0), ("both", 7, 1.5), ("back", 10.5, 0.5))
BUSY = 0.05
"""Share of pictures not made, above which lips are not judged."""
AFTER = 3
"""Seconds after the last stall."""


@pytest.mark.parametrize(("reports", "stalls"), [("true", LONG), ("never", SHORT), ("false", SHORT)])
async def test_sound_continues_within_a_second_of_a_stall(
    tmp_path: Path, reports: str, stalls: tuple[tuple[str, float, float], ...]
) -> None:
    clapper = ("--publish", "clap", "--fps", "30")
    words = ";".join(f"{kind} {at} {seconds}" for kind, at, seconds in stalls)
    environment = {"STALLS": words, "REPORTS": reports}
    async with (
        egress_server(tmp_path, outputs__hls__public='["*"]') as here,
        bots(here.server, 1, *clapper, module="tests.support.stalling", environment=environment),
    ):
        rooms = here.server.rooms
        await until(lambda: len(rooms.list()) == 1 and len(rooms.find(ROOM).publications) == 2)
        await here.ask("PUT", "/egress", json={"live": True, "recording": True, "layout": "single"})
        job = here.job
        await until(lambda: job.live_stream is not None and job.live_stream.state.name == "LIVE")
        await asyncio.sleep(stalls[-1][1] + AFTER)
        watched = await fetch(here.http, f"{here.server.url}/hls/{ROOM}/index.m3u8", "180p")
        recording, status = job.recording, job.status
        assert recording is not None
        assert status is not None
        await here.ask("DELETE", "/egress")
        kept = recording.directory / "recording.mp4"
        await until(kept.is_file)

    silent = [seconds for kind, _, seconds in stalls if kind in ("sound", "both")]
    disturbed = len([kind for kind, _, _ in stalls if kind != "picture"])
    for media in (watched[0], kept.read_bytes()):
        heard = np.array(await asyncio.to_thread(onsets, media)) / 1000
        assert heard[-1] > stalls[-1][1] + AFTER / 2
        pauses = np.diff(heard) - CLAP_EVERY / 1000
        assert pauses.max() < max(silent) + LOST, pauses
        assert pauses[pauses > 0].sum() < sum(silent) + disturbed * LOST / 2, pauses
        if reports == "false" or status.dropped_ticks > BUSY * status.ticks:
            continue  # no lip sync during the stall, or the machine is too busy to measure it
        found = await asyncio.to_thread(claps, media)
        assert len(found) > len(heard) * 0.7
        for stretch in np.array_split([clap.error for clap in found], len(stalls)):
            assert abs(float(np.median(stretch))) < LIPS, [round(clap.error) for clap in found]


async def test_recorded_tracks_and_their_mix_share_one_clock(tmp_path: Path) -> None:
    """Tracks with stalls, recorded from the first second on: length and start of each file match the capture time."""
    stalls = (("sound", 5, 0.5), ("both", 8, 1.5))
    environment = {"STALLS": ";".join(f"{kind} {at} {seconds}" for kind, at, seconds in stalls)}
    clapper = ("--publish", "clap", "--fps", "30")
    async with egress_server(tmp_path) as here:
        async with bots(here.server, 1, *clapper, module="tests.support.stalling", environment=environment):
            rooms = here.server.rooms
            await until(lambda: len(rooms.list()) == 1 and len(rooms.find(ROOM).publications) == 2)
            track_egress = here.server.egress_jobs.start_track_egress(rooms.find(ROOM))
            await until(lambda: track_egress.frames > 0)
            await asyncio.sleep(stalls[-1][1] + AFTER)
        await here.ask("DELETE", "/egress/tracks")
        await asyncio.wait_for(track_egress.task, 20)
    (sound,) = track_egress.directory.glob("*microphone*.webm")
    (picture,) = track_egress.directory.glob("*camera*.webm")
    begins = {track_file.path: track_file.started_at for track_file in recorded_tracks(track_egress.directory)}
    heard = np.array(onsets(sound.read_bytes())) + 1000 * begins[sound]
    seen = np.array([shown - drawn for shown, drawn in flashes(picture.read_bytes())]) + 1000 * begins[picture]
    late = (heard + CLAP_EVERY / 2) % CLAP_EVERY - CLAP_EVERY / 2
    assert min(len(heard), len(seen)) > 1.3 * stalls[-1][1]
    assert np.percentile(np.abs(late), 95) < LIPS, late
    assert np.percentile(np.abs(seen), 95) < LIPS, seen

    words = ["mix", str(track_egress.directory), "--picture", "320x180@300", "--layout", "single"]
    assert await asyncio.to_thread(cli.main, words) == 0
    found = await asyncio.to_thread(claps, (track_egress.directory / "mix" / "recording.mp4").read_bytes())
    assert len(found) > 1.3 * stalls[-1][1]
    errors = [clap.error for clap in found]
    assert np.percentile(np.abs(errors), 95) < LIPS, errors
