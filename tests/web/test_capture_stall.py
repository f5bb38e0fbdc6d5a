"""A browser whose microphone sends nothing for a second: what viewers of the live stream are missing."""

import asyncio
import io
from collections.abc import AsyncIterator

import aiohttp
import av
import numpy as np
import pytest
import pytest_asyncio

from tests.support.broadcast import fetch
from tests.web.guest import Meeting
from tests.web.server import ServerProcess, serve
from tests.web.test_live_stream import SMALL, choose

pytestmark = pytest.mark.quiet  # gaps in the sound are judged
STALLS = (1.0, 0.3)
LOST = 1.0
"""Seconds of sound that a stall may cost beyond itself."""
TONE = """async () => {
  const context = new AudioContext(), tone = context.createOscillator(), out = context.createMediaStreamDestination();
  tone.frequency.value = 800;
  tone.connect(out);
  tone.start();
  const [track] = out.stream.getAudioTracks();
  const senders = watched.connections.flatMap((each) => each.getSenders());
  window.stalling = { track, sender: senders.find((each) => each.track?.kind === "audio"), context };
  await stalling.sender.replaceTrack(track);
}"""
STALL = """async (seconds) => {
  await stalling.sender.replaceTrack(null);
  await new Promise((done) => setTimeout(done, 1000 * seconds));
  await stalling.sender.replaceTrack(stalling.track);
}"""


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ServerProcess]:
    directory = tmp_path_factory.mktemp("server")
    environment = {
        "SFU_OUTPUTS__RENDITIONS": '["320x180@200"]',
        "SFU_OUTPUTS__HLS__DIRECTORY": str(directory / "hls"),
        "SFU_OUTPUTS__HLS__PUBLIC": '["*"]',
        "SFU_EGRESS__DIRECTORY": str(directory / "recordings"),
    }
    async with serve(directory / "log", environment=environment) as running:
        yield running


def silences(media: bytes) -> list[float]:
    """Seconds of each stretch without the tone, after it was first heard."""
    with av.open(io.BytesIO(media), "r") as source:
        blocks = [np.abs(frame.to_ndarray()[0]).max() for frame in source.decode(audio=0)]
        rate = 48_000 / 1024
    heard = np.nonzero(np.array(blocks) > 0.01)[0]
    steps = np.diff(heard) - 1
    return [float(step) / rate for step in steps[steps > 2]]


async def test_sound_comes_back_after_a_stall(meeting: Meeting, server: ServerProcess) -> None:
    ada = await meeting.join("Ada", camera=SMALL)
    await ada.page.evaluate(TONE)
    await choose(ada, "go-live")
    await ada.part("on-air-live").wait_for()
    await asyncio.sleep(5)
    for seconds in STALLS:
        await ada.page.evaluate(STALL, seconds)
        await asyncio.sleep(5)
    async with aiohttp.ClientSession() as http:
        (watched,) = await fetch(http, f"{server.url}/hls/{meeting.room}/index.m3u8", "180p")
    missing = silences(watched)
    print(missing)
    assert missing, "there was no stall"
    assert max(missing) < max(STALLS) + LOST
    assert sum(missing) < sum(STALLS) + len(STALLS) * LOST
