"""Encoders publish into a meeting over WHIP: Chromium with a few lines of script and with public libraries, from a page of
another origin; FFmpeg; GStreamer. A participant of the meeting sees and hears them."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from playwright.async_api import Page

from tests.support.certificate import self_signed
from tests.web.guest import TWO_LAYERS, Guest, Meeting
from tests.web.server import ServerProcess, serve
from tests.web.whip_clients import serve_clients

ROOT = Path(__file__).parents[2]
GSTREAMER_PYTHON = "/usr/bin/python3"
GSTREAMER = (
    "import gi; gi.require_version('GstWebRTC', '1.0'); from gi.repository import Gst, GstWebRTC; Gst.init(None); "
)
GSTREAMER += "assert Gst.ElementFactory.find('webrtcbin') and Gst.ElementFactory.find('nicesrc')"
PUBLISH = {
    "whip-whep": """async ([endpoint, token]) => {
        const media = await navigator.mediaDevices.getUserMedia({ audio: true, video: { width: 640, height: 360 } });
        const pc = new RTCPeerConnection();
        for (const track of media.getTracks()) pc.addTransceiver(track, { direction: 'sendonly' });
        window.client = new Medooze();
        await client.publish(pc, endpoint, token);
    }""",
    "@eyevinn/whip-web-client": """async ([endpoint, token]) => {
        const media = await navigator.mediaDevices.getUserMedia({ audio: true, video: { width: 640, height: 360 } });
        window.client = new Eyevinn({ endpoint, opts: { authkey: token, iceServers: [] } });
        await client.ingest(media);
    }""",
}
STOP = {"whip-whep": "() => client.stop()", "@eyevinn/whip-web-client": "() => client.destroy()"}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def origin() -> AsyncIterator[str]:
    async with serve_clients() as found:
        yield found


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def server(origin: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ServerProcess]:
    settings = {"http.allowed_origins": f"[{origin}]"}
    async with serve(tmp_path_factory.mktemp("server") / "log", settings) as running:
        yield running


@asynccontextmanager
async def encoder_page(meeting: Meeting, origin: str) -> AsyncIterator[Page]:
    context = await meeting.browser.new_context()
    try:
        page = await context.new_page()
        await page.goto(origin)
        await page.wait_for_function("() => window.Medooze && window.Eyevinn")
        yield page
    finally:
        await context.close()


async def encoder_token(meeting: Meeting, identity: str = "obs", **fields: object) -> str:
    body = {"room": meeting.room, "identity": identity, **fields}
    async with aiohttp.ClientSession() as http, http.post(f"{meeting.url}/api/dev/token", json=body) as answer:
        token: str = (await answer.json())["token"]
        return token


def endpoint(meeting: Meeting) -> str:
    return f"{meeting.url}/whip/{meeting.room}"


async def published(viewer: Guest, identity: str, source: str) -> str:
    """Id of the track that a participant publishes, as the viewer's page sees it."""
    found: str = await viewer.until(
        f"the {source} of {identity}",
        """([identity, source]) => {
            for (const one of sfu.room.state.participants.values())
                if (one.identity === identity) return one.tracks.find((track) => track.source === source)?.id;
        }""",
        [identity, source],
    )
    return found


async def meets(viewer: Guest, identity: str = "obs") -> None:
    await viewer.sees(await published(viewer, identity, "camera"))
    await viewer.hears(await published(viewer, identity, "microphone"))


async def is_alone(viewer: Guest) -> None:
    await viewer.until("a meeting without the encoder", "() => sfu.room.state.participants.size === 0")


async def test_a_page_of_another_origin(meeting: Meeting, origin: str) -> None:
    """It publishes, restarts ICE, is named by its token, and leaves by DELETE."""
    viewer = await meeting.join("Ada")
    async with encoder_page(meeting, origin) as encoder:
        token = await encoder_token(meeting, name="Studio")
        created: dict[str, Any] = await encoder.evaluate(
            "(given) => whip.publish(...given)", [endpoint(meeting), token]
        )
        assert created["status"] == 201, created
        await meets(viewer)
        await viewer.page.get_by_text("Studio").first.wait_for()

        restarted = await encoder.evaluate("() => whip.restart()")
        assert restarted["status"] == 200
        assert restarted["etag"] not in ("", None, created["etag"])
        camera = await published(viewer, "obs", "camera")
        await encoder.wait_for_function(
            "() => whip.pc.iceConnectionState === 'connected' || whip.pc.iceConnectionState === 'completed'"
        )
        await viewer.sees(camera, frames=20)

        assert await encoder.evaluate("() => whip.send('DELETE').then((answer) => answer.status)") == 200
        await is_alone(viewer)


async def test_simulcast_in_any_order(meeting: Meeting, origin: str) -> None:
    """The order of the rids says nothing (RFC 8853 asks for the preferred one first): sizes decide."""
    viewer = await meeting.join("Ada", camera=TWO_LAYERS)  # all pages of a browser share one camera
    layers = [{"rid": rid, "scaleResolutionDownBy": scale} for rid, scale in (("a", 1), ("b", 2), ("c", 4))]
    async with encoder_page(meeting, origin) as encoder:
        wanted = {"width": 1280, "height": 720, "encodings": layers, "kinds": ["video"]}
        created = await encoder.evaluate(
            "(given) => whip.publish(...given)", [endpoint(meeting), await encoder_token(meeting), wanted]
        )
        assert created["status"] == 201, created
        camera = await published(viewer, "obs", "camera")
        for tile in (320, 640, 320):
            await viewer.subscribe({"track": camera, "width": tile, "height": tile * 9 // 16})
            await viewer.width(camera, tile)


@pytest.mark.parametrize("library", PUBLISH)
async def test_public_libraries(meeting: Meeting, origin: str, library: str) -> None:
    viewer = await meeting.join("Ada")
    async with encoder_page(meeting, origin) as encoder:
        await encoder.evaluate(PUBLISH[library], [endpoint(meeting), await encoder_token(meeting)])
        await meets(viewer)
        await encoder.evaluate(STOP[library])
        await is_alone(viewer)


async def test_a_kicked_encoder_is_gone(meeting: Meeting, origin: str) -> None:
    """The first to join moderates, here a person: the page's own request, as its button sends it."""
    viewer = await meeting.join("Ada")
    async with encoder_page(meeting, origin) as encoder:
        await encoder.evaluate("(given) => whip.publish(...given)", [endpoint(meeting), await encoder_token(meeting)])
        await meets(viewer)
        await viewer.run(
            """() => watched.sockets.at(-1).send(JSON.stringify(
                { type: 'kick', id: 2 ** 40, participant: [...sfu.room.state.participants.keys()][0] }))"""
        )
        await is_alone(viewer)
        assert await encoder.evaluate("() => whip.send('DELETE').then((answer) => answer.status)") == 404
        await encoder.wait_for_function("() => ['disconnected', 'failed', 'closed'].includes(whip.pc.connectionState)")


@asynccontextmanager
async def encoder_process(*command: str) -> AsyncIterator[None]:
    process = await asyncio.create_subprocess_exec(*command, cwd=ROOT, env={**os.environ, "no_proxy": "*"})
    try:
        yield
    finally:
        if process.returncode is None:
            process.terminate()
        try:
            async with asyncio.timeout(30):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
            raise


async def test_ffmpeg(meeting: Meeting, tmp_path: Path) -> None:
    viewer = await meeting.join("Ada")
    certificate, key = self_signed(tmp_path)
    command = (sys.executable, "-m", "tests.support.whip_encoder", endpoint(meeting), await encoder_token(meeting))
    async with encoder_process(*command, str(certificate), str(key)):
        await meets(viewer)
        camera = await viewer.received(await published(viewer, "obs", "camera"))
        assert camera["mime"] == "video/H264"
    await is_alone(viewer)


async def test_gstreamer(meeting: Meeting) -> None:
    probe = await asyncio.create_subprocess_exec(GSTREAMER_PYTHON, "-c", GSTREAMER, stderr=asyncio.subprocess.DEVNULL)
    if await probe.wait():
        pytest.skip(
            "needs python3-gi, gir1.2-gst-plugins-bad-1.0, gstreamer1.0-plugins-{good,bad} and gstreamer1.0-nice"
        )
    viewer = await meeting.join("Ada")
    script = str(ROOT / "tests" / "support" / "whip_gstreamer.py")
    async with encoder_process(GSTREAMER_PYTHON, script, endpoint(meeting), await encoder_token(meeting)):
        await meets(viewer)
