"""The example plug-ins in a real worker: captions in the picture and for the player, loudness in the event log."""

import asyncio
import json
from pathlib import Path

import av
import numpy as np

from tests.egress.support import ROOM, bots, egress_server, until
from tests.egress.words import WORDS

HOOKS = json.dumps(
    {
        "captions": {"seconds": "3", "language": "en", "callback": "tests.egress.words:heard"},
        "loudness": {"bar": "yes", "log": "1"},
    }
)


def seen(path: Path) -> "np.ndarray":
    """Luma of a picture near the end."""
    with av.open(str(path)) as source:
        frames = [frame.to_ndarray(format="gray") for frame in source.decode(video=0)]
    return frames[-20]


async def test_captions_and_loudness(tmp_path: Path) -> None:
    async with egress_server(tmp_path, egress__plugins=HOOKS) as here, bots(here.server, 1):
        rooms = here.server.rooms
        await until(lambda: len(rooms.list()) == 1 and len(rooms.find(ROOM).publications) == 2)
        await here.ask("PUT", "/egress", json={"live": True, "recording": True})
        job = here.job
        live_stream = job.live_stream
        assert live_stream is not None
        assert job.recording is not None
        directory = job.recording.directory
        await until(lambda: "en" in live_stream.captions)
        await until(lambda: live_stream.streams["180p"].last[0] >= 5)
        said = live_stream.captions["en"]
        assert any(WORDS.encode() in (said.segment(msn) or b"") for msn in range(6))
        assert b'LANGUAGE="en"' in live_stream.multivariant()
        await here.ask("DELETE", "/egress")
        await until(lambda: (directory / "recording.mp4").is_file())
    events = [json.loads(line) for line in (directory / "events.jsonl").read_text().splitlines()]
    loud = [event for event in events if event["event"] == "plug-in loudness"]
    assert loud, {event["event"] for event in events}
    assert -60 < float(loud[-1]["short_term"]) < -5
    luma = await asyncio.to_thread(seen, directory / "recording.mp4")
    assert (luma[150:175, 100:220] > 200).sum() > 50
    assert luma[16:176, 18:26].std() > 10
