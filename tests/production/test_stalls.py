"""Capture that stalls and clocks that step, through the whole chain: what viewers and recordings still contain."""

import asyncio
from pathlib import Path

import numpy as np
import pytest

from tests.production.support import ROOM, bots, house, until
from tests.support.broadcast import CLAP_EVERY, claps, fetch, onsets

LIPS = 40.0
"""Milliseconds between picture and sound, median of each stretch between two stalls."""
LOST = 1.0
"""Seconds of sound that a stall or a step may cost beyond itself."""
LONG = (("sound", 6, 0.3), ("sound", 9, 1.0), ("picture", 13, 1.0), ("both", 17, 2.5), ("back", 22, 0.5),
        ("forward", 25, 0.7), ("sound", 28, 0.12))  # fmt: skip
SHORT = (("sound", 6, 1.0), ("both", 10, 1.5), ("back", 14, 0.5))
AFTER = 4
"""Seconds after the last stall."""


@pytest.mark.parametrize(("reports", "stalls"), [("true", LONG), ("never", SHORT), ("false", SHORT)])
async def test_sound_continues_within_a_second_of_a_stall(
    tmp_path: Path, reports: str, stalls: tuple[tuple[str, int, float], ...]
) -> None:
    clapper = ("--publish", "clap", "--fps", "30")
    words = ";".join(f"{kind} {at} {seconds}" for kind, at, seconds in stalls)
    environment = {"STALLS": words, "REPORTS": reports}
    async with (
        house(tmp_path, egress__hls__public='["*"]') as here,
        bots(here.server, 1, *clapper, module="tests.support.stalling", environment=environment),
    ):
        rooms = here.server.rooms
        await until(lambda: len(rooms.list()) == 1 and len(rooms.find(ROOM).stage) == 2)
        await here.ask("PUT", "/egress", json={"live": True, "recording": True, "layout": "single"})
        production = here.production
        await until(lambda: production.window is not None and production.window.state.name == "LIVE")
        await asyncio.sleep(stalls[-1][1] + AFTER)
        watched = await fetch(here.http, f"{here.server.url}/hls/{ROOM}/index.m3u8", "180p")
        recording = production.recording
        assert recording is not None
        await here.ask("DELETE", "/egress")
        kept = recording.directory / "programme.mp4"
        await until(kept.is_file)

    silent = [seconds for kind, _, seconds in stalls if kind in ("sound", "both")]
    disturbed = len([kind for kind, _, _ in stalls if kind != "picture"])
    for media in (watched[0], kept.read_bytes()):
        heard = np.array(await asyncio.to_thread(onsets, media)) / 1000
        assert heard[-1] > stalls[-1][1] + AFTER / 2
        pauses = np.diff(heard) - CLAP_EVERY / 1000
        assert pauses.max() < max(silent) + LOST, pauses
        assert pauses[pauses > 0].sum() < sum(silent) + disturbed * LOST / 2, pauses
        if reports == "false":
            continue  # lips cannot be right then
        found = await asyncio.to_thread(claps, media)
        assert len(found) > len(heard) * 0.7
        for stretch in np.array_split([clap.error for clap in found], len(stalls)):
            assert abs(float(np.median(stretch))) < LIPS, [round(clap.error) for clap in found]
