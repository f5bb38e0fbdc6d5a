"""Browsers and networks that cannot carry a call: the page says so, and offers the live stream where there is one."""

import asyncio
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from playwright.async_api import Browser, Playwright, Route

from tests.support.live_stream_process import opened
from tests.web.axe import findings
from tests.web.conftest import ARTIFACTS, launch
from tests.web.guest import Guest, Meeting, gathering
from tests.web.link import link
from tests.web.server import KEYS, ServerProcess, serve, token
from tests.web.test_playback import in_webkit
from tests.web.webkit import WebKit, needs_webkit

SMALL = "320x180x15"
LOOKS: list[dict[str, Any]] = [
    {"color_scheme": "light"},
    {"color_scheme": "dark", "viewport": {"width": 360, "height": 640}},
]
NO_WEBRTC = "delete window.RTCPeerConnection;"
BLOCKED = """
    // As browser extensions block WebRTC.
    window.RTCPeerConnection = class { constructor() { throw new DOMException('Blocked', 'NotAllowedError'); } };
"""
BLOCKED_LATER = """
    // A policy that takes effect while the page is open.
    const Connection = window.RTCPeerConnection;
    window.RTCPeerConnection = class extends Connection {
        constructor(...rest) {
            if (window.sfu?.state.joining) throw new DOMException('Blocked', 'NotAllowedError');
            super(...rest);
        }
    };
"""


@needs_webkit
async def test_webkitgtk_is_refused_and_gets_the_live_stream_of_the_room(tmp_path: Path) -> None:
    """From the message to the running stream, by the offered link. The stream starts after the page has loaded."""

    async def look(page: WebKit, client: aiohttp.ClientSession, url: str) -> None:
        await page.visit(f"{url}/r/live")
        await page.until("the message", "() => document.querySelector('[data-testid=unsupported]') !== null")
        text = await page.text()
        assert "This browser does not support calls" in text
        assert all(name in text for name in ("Chrome", "Firefox", "Safari"))
        for part in ("join-button", "watch-instead"):
            assert await page.run("(part) => document.querySelector(`[data-testid=${part}]`) === null", part)
        async with client.post("/control/begin?renditions=180p") as answer:
            assert answer.status == 200
        await page.until("the offer", "() => document.querySelector('[data-testid=watch-instead]') !== null")
        await page.click("[data-testid=watch-instead]")
        await page.until("the player", "() => globalThis.sfuWatch?.video.currentTime > 1", within=30)

    await in_webkit(tmp_path, look)


@pytest.mark.parametrize(("script", "reason"), [(NO_WEBRTC, "no_webrtc"), (BLOCKED, "webrtc_blocked")])
async def test_chromium_without_webrtc(meeting: Meeting, axe: str, script: str, reason: str) -> None:
    for number, look in enumerate(LOOKS):
        ada = await meeting.invite(f"Ada {number}", **look)
        await ada.page.add_init_script(script)
        await ada.page.goto(meeting.address(camera=SMALL))
        await ada.part("unsupported").wait_for()
        assert await ada.part("unsupported").get_attribute("data-reason") == reason
        assert "Firefox" in await ada.part("unsupported").inner_text()
        assert await ada.run("() => sfu.local.state.camera.track === null")
        assert await findings(ada, axe) == []
        await ada.page.screenshot(path=ARTIFACTS / f"unsupported-{reason}-{number}.png")


async def test_webrtc_that_is_blocked_while_joining(meeting: Meeting) -> None:
    ada = await meeting.invite("Ada")
    await ada.page.add_init_script(BLOCKED_LATER)
    await ada.page.goto(meeting.address(camera=SMALL))
    await ada.part("name-input").fill("Ada")
    await ada.part("join-button").click()
    await ada.part("unsupported").wait_for()
    assert await ada.part("unsupported").get_attribute("data-reason") == "webrtc_blocked"
    bob = await meeting.join("Bob", camera=SMALL)
    assert await bob.run("() => sfu.room.state.participants.size") == 0


async def test_a_recorded_live_stream_is_offered_as_a_replay(chromium: Browser) -> None:
    async with opened() as url, aiohttp.ClientSession(url) as client, gathering(chromium, url, "live") as meeting:
        async with client.post("/control/begin?renditions=180p") as answer:
            assert answer.status == 200
        ada = await meeting.invite("Ada")
        await ada.page.add_init_script(NO_WEBRTC)
        await ada.page.goto(meeting.address(camera=SMALL))
        await ada.page.locator("[data-testid=watch-instead][data-kind=live]").wait_for()
        await asyncio.sleep(3)
        async with client.post("/control/end") as answer:
            assert answer.status == 200
        await ada.page.locator("[data-testid=watch-instead][data-kind=replay]").wait_for()


async def test_an_insecure_page_says_what_is_missing(playwright: Playwright, tmp_path: Path) -> None:
    """http:// in a local network: the browser gives no camera, and the person may still watch."""
    async with serve(tmp_path / "log", None, KEYS) as server:
        browser = await launch(playwright, "--host-resolver-rules=MAP meet.test 127.0.0.1")
        try:
            async with gathering(browser, f"http://meet.test:{server.port}", "lan") as meeting:
                ada = await meeting.invite("Ada")
                key = await token("lan", "ada")
                await ada.page.goto(f"{meeting.url}/r/lan#token={key}")
                await ada.page.locator("[data-testid=problem][data-code=insecure]").wait_for()
                assert await ada.part("problem").count() == 1
                assert "https" in await ada.part("problem").inner_text()
                await ada.page.screenshot(path=ARTIFACTS / "insecure.png")
                await ada.part("name-input").fill("Ada")
                await ada.part("join-button").click()
                await ada.part("meeting").wait_for()
                assert ada.failures == []
        finally:
            await browser.close()


@pytest.mark.parametrize("swallow", [False, True], ids=["stripped", "swallowed"])
async def test_a_proxy_that_blocks_websockets_is_named(chromium: Browser, server: ServerProcess, swallow: bool) -> None:
    """A proxy that does not know WebSockets removes the request to upgrade, or never passes it on."""

    def pass_on(chunk: bytes) -> bytes:
        asks = b"Upgrade: websocket" in chunk
        return b"" if asks and swallow else chunk.replace(b"Upgrade: websocket", b"X-Removed: yes")

    async with link(server.port, pass_on) as path, gathering(chromium, path.url, "proxy") as meeting:
        ada = await meeting.invite("Ada")
        await ada.page.goto(meeting.address(camera=SMALL))
        await ada.part("name-input").fill("Ada")
        await ada.part("join-button").click()
        await ada.part("end").wait_for(timeout=60_000)
        assert await ada.part("end").get_attribute("data-reason") == "websocket_blocked"
        assert "blocks" in await ada.part("end").inner_text()
        assert ada.failures == []


async def message(guest: Guest) -> str:
    await guest.part("outdated").wait_for()
    text: str = await guest.part("outdated").inner_text()
    return text


@pytest.mark.parametrize("path", ["/r/old", "/watch/old"])
async def test_a_browser_too_old_for_the_modules(chromium: Browser, server: ServerProcess, path: str) -> None:
    """A module with syntax that this browser does not know stands for all newer syntax."""

    async def newer(route: Route) -> None:
        await route.fulfill(body="export class Store { #~ }", content_type="text/javascript")

    async def nothing(route: Route) -> None:
        await route.fulfill(body="", content_type="text/javascript")

    async def unreachable(route: Route) -> None:
        await route.abort()

    async with gathering(chromium, server.url, "old") as meeting:
        syntax = await meeting.invite("Syntax")
        await syntax.page.route("**/static/page/store.js", newer)
        await syntax.page.goto(server.url + path)
        assert "too old" in await message(syntax)
        await syntax.page.screenshot(path=ARTIFACTS / "outdated.png")

        missing = await meeting.invite("Missing")
        await missing.page.add_init_script("delete window.URLSearchParams;")
        await missing.page.goto(server.url + path)
        assert "too old" in await message(missing)

        modules = await meeting.invite("Modules")
        await modules.page.add_init_script("delete HTMLScriptElement.prototype.noModule;")
        await modules.page.route("**/main.js", nothing)
        await modules.page.goto(server.url + path)
        assert "too old" in await message(modules)

        torn = await meeting.invite("Torn")
        await torn.page.route("**/static/page/store.js", unreachable)
        await torn.page.goto(server.url + path)
        assert "did not load completely" in await message(torn)
