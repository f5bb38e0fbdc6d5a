"""An encoder publishes over RTMP, and a person in the meeting sees and hears it."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import aiohttp
import pytest
from playwright.async_api import Browser

from tests.support.ports import free_port
from tests.web.conftest import ARTIFACTS
from tests.web.guest import gathering
from tests.web.server import ServerProcess, serve

ROOM = "studio"
SOURCES = (
    *("-re", "-f", "lavfi", "-i", "testsrc2=s=640x360:r=30"),
    *("-re", "-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000"),
)
CODECS = (
    "-c:v",
    "libx264",
    "-preset",
    "ultrafast",
    "-tune",
    "zerolatency",
    "-g",
    "30",
    "-pix_fmt",
    "yuv420p",
    "-c:a",
    "aac",
)

BOTH_TRACKS = """() => {
    const encoder = [...sfu.room.state.participants.values()].find((one) => one.kind === 'ingress');
    if (encoder?.tracks.length !== 2) return null;
    return Object.fromEntries(encoder.tracks.map((one) => [one.kind, one.id]));
}"""


async def stream_key(server: ServerProcess) -> str:
    async with aiohttp.ClientSession(server.url) as http:
        async with http.post("/api/dev/token", json={"room": ROOM, "identity": "operator", "admin": True}) as answer:
            token = (await answer.json())["token"]
        headers = {"Authorization": f"Bearer {token}"}
        body = {"identity": "encoder", "name": "Studio camera"}
        async with http.post(f"/api/v1/rooms/{ROOM}/ingest", headers=headers, json=body) as answer:
            return str((await answer.json())["key"])


@asynccontextmanager
async def encoder(url: str) -> AsyncIterator[None]:
    process = await asyncio.create_subprocess_exec(
        *("ffmpeg", "-loglevel", "error", *SOURCES, *CODECS, "-f", "flv", url), stdin=asyncio.subprocess.DEVNULL
    )
    try:
        yield
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


@pytest.mark.skipif(not shutil.which("ffmpeg"), reason="ffmpeg is the encoder here")
async def test_an_encoder_in_a_meeting(chromium: Browser, tmp_path: Path) -> None:
    port = free_port()
    settings = {"ingest.rtmp_port": port, "ingest.keys_file": tmp_path / "keys.json"}
    async with serve(tmp_path / "server.log", settings) as server:
        key = await stream_key(server)
        async with gathering(chromium, server.url, ROOM) as meeting:
            ada = await meeting.join("Ada", camera="320x180x15")
            async with encoder(f"rtmp://localhost:{port}/live/{key}"):
                await ada.page.locator(
                    '[data-identity="encoder"] [data-testid="tile-ingest"]', has_text="Encoder"
                ).wait_for()
                tracks = await ada.until(
                    "both tracks",
                    BOTH_TRACKS,
                )
                await ada.sees(tracks["video"], frames=20)
                await ada.hears(tracks["audio"])
                ARTIFACTS.mkdir(parents=True, exist_ok=True)
                await ada.page.screenshot(path=ARTIFACTS / "ingest.png")
            await ada.page.get_by_text("Encoder disconnected").wait_for()
        assert server.errors() == []
