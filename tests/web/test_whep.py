"""Players watch a meeting over WHEP: Chromium with a few lines of script and with public libraries."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from playwright.async_api import Page

from tests.web import whep_clients
from tests.web.firefox import Firefox
from tests.web.guest import THREE_LAYERS, Guest, Meeting

WHEP = Path(__file__).with_name("whep.js").read_text()
WHIP = Path(__file__).with_name("whip.js").read_text()
PATIENCE = 30.0
WITH_CODEC = """(mimeType) => {
    const add = RTCPeerConnection.prototype.addTransceiver;
    RTCPeerConnection.prototype.addTransceiver = function (track, init) {
        const made = add.call(this, track, init);
        const { codecs } = RTCRtpReceiver.getCapabilities('video');
        if (track.kind === 'video') made.setCodecPreferences(codecs.filter((codec) => codec.mimeType === mimeType));
        return made;
    };
}"""
LIBRARIES = {
    "whip-whep": """async ([endpoint, token]) => {
        const pc = new RTCPeerConnection();
        for (const kind of ['audio', 'video']) pc.addTransceiver(kind, { direction: 'recvonly' });
        whep.show(pc);
        window.EventSource = class extends EventSource {
            constructor(...given) {
                super(...given);
                window.active = new Promise((resolve) => this.addEventListener('active', resolve));
            }
        };
        window.client = new WHEPClient();
        await client.view(pc, endpoint, token);
        for (; !window.active; ) await new Promise((resolve) => setTimeout(resolve, 20));
        await active;
    }""",
    "@eyevinn/webrtc-player": """async ([endpoint, token]) => {
        const video = whep.show();
        window.client = new WebRTCPlayer({ video, type: 'whep', iceServers: [] });
        await client.load(new URL(endpoint), `Bearer ${token}`);
        whep.pc = client.peer;
    }""",
}
STOP = {"whip-whep": "() => client.stop()", "@eyevinn/webrtc-player": "() => client.unload()"}


async def token_of(meeting: Meeting, identity: str = "viewer", **fields: object) -> str:
    body = {"room": meeting.room, "identity": identity, **fields}
    async with aiohttp.ClientSession() as http, http.post(f"{meeting.url}/api/dev/token", json=body) as answer:
        token: str = (await answer.json())["token"]
        return token


@asynccontextmanager
async def blank_page(meeting: Meeting, script: str) -> AsyncIterator[Page]:
    context = await meeting.browser.new_context()
    try:
        page = await context.new_page()
        await page.goto(f"{meeting.url}/healthz")
        await page.evaluate(script)
        yield page
    finally:
        await context.close()


@asynccontextmanager
async def player(meeting: Meeting, path: str) -> AsyncIterator[Page]:
    """A page that watches `/whep/{room}{path}`."""
    async with blank_page(meeting, WHEP) as page:
        endpoint = f"{meeting.url}/whep/{meeting.room}{path}"
        created: dict[str, Any] = await page.evaluate(
            "(given) => whep.play(...given)", [endpoint, await token_of(meeting)]
        )
        assert created["status"] == 201, created
        yield page


async def watches(page: Page, frames: int = 10) -> dict[str, Any]:
    """Waits for more frames and more sound; returns size and codec of the picture."""
    try:
        async with asyncio.timeout(PATIENCE):
            picture: dict[str, Any] = await page.evaluate("(frames) => whep.watches(frames)", frames)
            return picture
    except TimeoutError:
        raise AssertionError(await page.evaluate("() => whep.state()")) from None


async def identity_of(guest: Guest) -> str:
    identity: str = await guest.run("() => sfu.room.state.me.identity")
    return identity


async def test_a_page_watches_a_participant(meeting: Meeting) -> None:
    """The viewer restarts ICE, sees the camera again after a pause, and leaves by DELETE. The room does not notice it."""
    ada = await meeting.join("Ada")
    async with player(meeting, f"/{await identity_of(ada)}") as page:
        await watches(page)
        assert await ada.run("() => sfu.room.state.participants.size") == 0

        restarted = await page.evaluate("() => whep.restart()")
        assert restarted["status"] == 200
        await watches(page)

        before = await page.evaluate("() => whep.received()")
        for _ in range(2):
            await ada.part("camera").first.click()
        await watches(page, 20)
        after = await page.evaluate("() => whep.received()")
        assert after["video"]["ssrc"] == before["video"]["ssrc"]

        assert await page.evaluate("() => whep.send('DELETE').then((answer) => answer.status)") == 200
        assert await page.evaluate("() => whep.send('DELETE').then((answer) => answer.status)") == 404


async def test_layers_follow_the_player_and_its_path(meeting: Meeting) -> None:
    """The largest layer needs an estimate of the path, from feedback with the player's own extension ids."""
    ada = await meeting.join("Ada", camera=THREE_LAYERS)
    async with player(meeting, f"/{await identity_of(ada)}") as page:
        for wanted, width in (({}, 960), ({"maxWidth": 240, "maxHeight": 135}, 240), ({"encodingId": "f"}, 960)):
            status = await page.evaluate(
                """(body) => whep.send('POST', { 'Content-Type': 'application/json' }, JSON.stringify(body), '/layer')
                    .then((answer) => answer.status)""",
                wanted,
            )
            assert status == 200
            await page.wait_for_function(
                "async (width) => (await whep.picture())?.width === width", arg=width, timeout=PATIENCE * 1000
            )


async def test_an_encoder_comes_back_with_another_codec(meeting: Meeting) -> None:
    """The player's decoders follow without a negotiation."""
    await meeting.join("Ada")
    endpoint = f"{meeting.url}/whip/{meeting.room}"

    @asynccontextmanager
    async def encoder(codec: str) -> AsyncIterator[None]:
        async with blank_page(meeting, WHIP) as page:
            await page.evaluate(WITH_CODEC, codec)
            created = await page.evaluate(
                "(given) => whip.publish(...given)", [endpoint, await token_of(meeting, "obs")]
            )
            assert created["status"] == 201, created
            yield
            await page.evaluate("() => whip.send('DELETE')")

    async with encoder("video/VP8"):
        viewing = player(meeting, "/obs")
        page = await viewing.__aenter__()
        assert (await watches(page))["codec"] == "video/VP8"
    try:
        for codec in ("video/VP9", "video/VP8"):
            async with encoder(codec):
                await page.wait_for_function(
                    "async (codec) => (await whep.picture())?.codec === codec", arg=codec, timeout=PATIENCE * 1000
                )
                await watches(page)
    finally:
        await viewing.__aexit__(None, None, None)


async def test_a_page_watches_the_mix(meeting: Meeting) -> None:
    await meeting.join("Ada")
    url = f"{meeting.url}/api/v1/rooms/{meeting.room}/egress"
    headers = {"Authorization": f"Bearer {await token_of(meeting, 'operator', admin=True)}"}
    async with aiohttp.ClientSession(headers=headers) as http:
        async with http.put(url, json={"track": True}) as answer:
            assert answer.status < 300, await answer.text()
        async with player(meeting, "") as page:
            picture = await watches(page)
            assert picture["codec"] == "video/H264"
            assert picture["width"] >= 640
        async with http.delete(url) as answer:
            assert answer.status < 300, await answer.text()


@pytest.mark.parametrize("library", LIBRARIES)
async def test_public_libraries(meeting: Meeting, library: str) -> None:
    ada = await meeting.join("Ada")
    async with blank_page(meeting, f"{WHEP}\n{await whep_clients.script()}") as page:
        endpoint = f"{meeting.url}/whep/{meeting.room}/{await identity_of(ada)}"
        await page.evaluate(LIBRARIES[library], [endpoint, await token_of(meeting)])
        await watches(page)
        await page.evaluate(STOP[library])


async def test_firefox(meeting: Meeting, fox: Firefox) -> None:
    ada = await meeting.join("Ada")
    await fox.command("browsingContext.navigate", context=fox.context, url=f"{meeting.url}/healthz", wait="complete")
    await fox.run(f"async () => {{ {WHEP} }}")
    endpoint = f"{meeting.url}/whep/{meeting.room}/{await identity_of(ada)}"
    created = await fox.run("(given) => whep.play(...given)", [endpoint, await token_of(meeting)])
    assert created["status"] == 201, created
    await fox.until(
        "picture and sound",
        """async () => {
            const { audio, video } = await whep.received();
            return video?.framesDecoded >= 10 && audio?.packetsReceived >= 50;
        }""",
        within=PATIENCE,
    )
