"""Watching a live stream in Chromium: latency of the picture, start, end and restart."""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page

from tests.support.live_stream_process import opened
from tests.web.axe import findings
from tests.web.guest import Visitor

BARCODE = Path(__file__).parents[1] / "support" / "barcode.js"
PHONE = {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True, "color_scheme": "dark"}
NO_SOUND = """
    // Autoplay as strict browsers rule it. (A page that a test evaluates scripts in counts as one that was clicked.)
    const { play } = HTMLMediaElement.prototype;
    let tapped = false;
    addEventListener('pointerdown', () => (tapped = true), true);
    HTMLMediaElement.prototype.play = function () {
        return this.muted || tapped ? play.call(this) : Promise.reject(new DOMException('', 'NotAllowedError'));
    };
"""
KEEP_HLS = """() => import('/static/vendor/hls/hls.light.js').then(({ default: Hls }) => {
    const { loadSource } = Hls.prototype;
    Hls.prototype.loadSource = function (url) {
        globalThis.hls = this;
        return loadSource.call(this, url);
    };
})"""
FORGET = """() => {
    // As hls.js does by itself now and then: the first parts of a segment, of which later ones are loaded.
    const parts = hls.latestLevelDetails?.partList ?? [];
    const newest = parts.findLast((part) => part.loaded);
    if (newest?.index !== 3) return false;
    for (const part of parts) if (part.fragment.sn === newest.fragment.sn && part.index < 2) part.clearElementaryStreamInfo();
    return true;
}"""
START_EARLY = """{
    const { appendBuffer } = SourceBuffer.prototype;
    SourceBuffer.prototype.appendBuffer = function (data) {
        const video = document.querySelector('video');
        if (video?.readyState === 1 && globalThis.movedTo === undefined) {
            globalThis.movedTo = video.currentTime = Math.max(0.5, video.currentTime - 10);
        }
        appendBuffer.call(this, data);
    };
}"""
"""Moves the start away from the first pictures, just before these are appended."""
Open = Callable[..., Awaitable["Viewer"]]


class Viewer(Visitor):
    """One page of Chromium on the watch page."""

    name = "the viewer"

    def __init__(self, page: Page) -> None:
        self.page = page
        self.failures: list[str] = []
        page.on("pageerror", lambda error: self.failures.append(str(error)))

    async def run(self, script: str, argument: object = None) -> Any:
        return await self.page.evaluate(script, argument)

    def part(self, testid: str) -> Any:
        return self.page.get_by_test_id(testid)

    async def press(self, testid: str, text: str | None = None) -> None:
        """Moves the pointer to show the controls, then clicks."""
        await self.page.mouse.move(100, 200)
        await self.page.mouse.move(120, 220)
        found = self.part(testid)
        await (found.filter(has_text=text) if text else found).click()

    async def phase(self, name: str, within: float = 20.0) -> None:
        await self.until(f"phase {name}", "(name) => sfuWatch.state.phase === name", name, within=within)

    async def plays(self, within: float = 20.0) -> None:
        """Waits until two more seconds were played."""
        at = await self.run("() => sfuWatch.video.currentTime")
        await self.until(
            "it plays",
            "(at) => Math.abs(sfuWatch.video.currentTime - at) > 2 && !sfuWatch.video.paused && sfuWatch.video.readyState > 2",
            at,
            within=within,
        )

    async def settled(self, limit: float, within: float = 30.0) -> float:
        """Waits until the median lateness is below `limit` milliseconds; that median."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + within
        while True:
            late = await self.lateness(30)
            median = late[len(late) // 2]
            if median < limit:
                return median
            assert loop.time() < deadline, f"{self.name} is {median} ms late"

    async def lateness(self, pictures: int = 60) -> list[float]:
        """Milliseconds from making to screen of so many pictures."""
        await self.run("() => { barcode.shown.length = 0; }")
        await self.until("pictures", "(many) => barcode.shown.length >= many", pictures)
        return sorted(await self.run("() => barcode.shown.map(([, late]) => late)"))


@pytest_asyncio.fixture(loop_scope="session")
async def stream_server() -> AsyncIterator[aiohttp.ClientSession]:
    """A server with an empty stage."""
    async with opened() as url, aiohttp.ClientSession(url) as client:
        yield client


@pytest_asyncio.fixture(loop_scope="session")
async def arrive(chromium: Browser, stream_server: aiohttp.ClientSession) -> AsyncIterator[Open]:
    """Opens the page for one more viewer; afterwards no page may have failed."""
    viewers = []

    async def open_page(*, script: str = "", unanswered: re.Pattern[str] | None = None, **options: Any) -> Viewer:
        context = await chromium.new_context(**options)
        page = await context.new_page()
        if unanswered is not None:
            await page.route(unanswered, lambda route: None)
        await page.add_init_script(path=BARCODE)
        await page.add_init_script(script)
        viewer = Viewer(page)
        viewers.append(viewer)
        await page.goto(f"{stream_server._base_url}/watch/live")
        await viewer.until("the page", "() => Boolean(globalThis.sfuWatch)")
        await viewer.run("() => barcode.watch(sfuWatch.video)")
        return viewer

    yield open_page
    for viewer in viewers:
        await viewer.page.context.close()
    assert [failure for viewer in viewers for failure in viewer.failures] == []


async def do(stream_server: aiohttp.ClientSession, action: str) -> None:
    async with stream_server.post(f"/control/{action}") as answer:
        assert answer.status == 200


async def test_from_before_the_beginning_to_the_replay(arrive: Open, stream_server: aiohttp.ClientSession) -> None:
    viewer = await arrive()
    await viewer.phase("waiting")
    assert "starts soon" in await viewer.part("watch").inner_text()

    await do(stream_server, "begin?renditions=360p,180p")
    await viewer.phase("playing")
    await viewer.plays()
    async with asyncio.timeout(60):
        while True:
            late = await viewer.settled(1000)
            shown = float((await viewer.part("latency").inner_text()).removesuffix(" s"))
            if abs(shown - late / 1000) < 0.3:
                break
    assert "Live" in await viewer.part("status").inner_text()

    await viewer.press("quality")
    await viewer.press("quality-option", "180p")
    await viewer.until("180 lines", "() => sfuWatch.video.videoHeight === 180")
    await viewer.plays()

    # Shorter replays have no seek bar.
    await viewer.until(
        "ten seconds of stream", "() => sfuWatch.state.position.end - sfuWatch.state.position.start > 10"
    )
    await do(stream_server, "end")
    await viewer.phase("ended")
    await viewer.press("replay")
    await viewer.plays()
    assert "Replay" in await viewer.part("status").inner_text()
    assert await viewer.run("() => sfuWatch.video.duration") > 8  # from the beginning, not the last seconds only
    await viewer.part("seek").focus()
    await viewer.page.keyboard.press("End")
    await viewer.phase("ended")


async def test_the_mixer_starts_again(arrive: Open, stream_server: aiohttp.ClientSession) -> None:
    await do(stream_server, "begin")
    viewer = await arrive()
    await viewer.plays()
    await do(stream_server, "restart?pause=1.5")
    await viewer.plays(within=30)
    await viewer.settled(1500)


@pytest.mark.quiet  # a pause of the picture is judged
async def test_parts_that_hls_js_forgets_do_not_stop_the_picture(
    arrive: Open, stream_server: aiohttp.ClientSession
) -> None:
    viewer = await arrive()
    await viewer.run(KEEP_HLS)
    await do(stream_server, "begin?renditions=360p")
    await viewer.plays()
    await asyncio.sleep(3)
    await viewer.run("() => { barcode.shown.length = 0; }")
    for _ in range(9):  # it matters where the sound ends a little before the segment
        await viewer.until("a segment to forget of", FORGET)
        await asyncio.sleep(0.6)
    await asyncio.sleep(1.5)
    shown = [at for at, _ in await viewer.run("() => barcode.shown")]
    assert max(later - earlier for earlier, later in pairwise(shown)) < 1500  # it was nearly three seconds


async def test_into_the_past_and_back_by_keyboard(arrive: Open, stream_server: aiohttp.ClientSession) -> None:
    await do(stream_server, "begin")
    await asyncio.sleep(10)
    viewer = await arrive()
    await viewer.plays()
    await viewer.page.keyboard.press("ArrowLeft")
    await viewer.until("behind", "() => !sfuWatch.state.atEdge")
    await viewer.plays()
    assert (await viewer.lateness(10))[0] > 3000
    assert await viewer.part("go-live").get_attribute("title") == "Go to live"
    await viewer.page.keyboard.press("l")
    await viewer.until("live", "() => sfuWatch.state.atEdge")
    await viewer.plays()
    await viewer.settled(1500)
    await viewer.page.keyboard.press("k")
    await viewer.until("paused", "() => sfuWatch.video.paused")
    await viewer.page.keyboard.press("m")
    await viewer.until("muted", "() => sfuWatch.state.muted")


async def test_a_start_before_all_data(arrive: Open, stream_server: aiohttp.ClientSession) -> None:
    """On a slow computer hls.js places the start before the data that it loads, and loads no others."""
    await do(stream_server, "begin?renditions=360p")
    first = await arrive()
    await first.until("some live stream", "() => sfuWatch.video.currentTime > 12", within=40)
    late = await arrive(script=START_EARLY, unanswered=re.compile(r"/360p/\d+\.m4s$"))
    assert await late.until("the start is moved", "() => globalThis.movedTo !== undefined", within=20) is True
    await late.plays()
    await late.until("the live edge", "() => sfuWatch.state.atEdge")


async def test_captions(arrive: Open, stream_server: aiohttp.ClientSession) -> None:
    await do(stream_server, "begin")
    await do(stream_server, "caption?text=Before")
    viewer = await arrive()
    await viewer.plays()
    await viewer.until("a track", "() => sfuWatch.state.captions.length", within=15)
    await viewer.press("captions")
    await viewer.press("caption-option", "English")
    await do(stream_server, "caption?text=Welcome%20%3Ceverybody%3E")
    await viewer.until(
        "the words",
        "() => [...sfuWatch.video.textTracks].some((track) => [...(track.activeCues ?? [])].some("
        "(cue) => cue.getCueAsHTML().textContent === 'Welcome <everybody>'))",
    )


async def test_captions_once_chosen_come_back(arrive: Open, stream_server: aiohttp.ClientSession) -> None:
    await do(stream_server, "begin")
    await do(stream_server, "caption?text=Before")
    viewer = await arrive()
    await viewer.plays()
    await viewer.until("a track", "() => sfuWatch.state.captions.length", within=15)
    await viewer.press("captions")
    await viewer.press("caption-option", "English")
    await viewer.page.reload()
    await viewer.until("the page", "() => Boolean(globalThis.sfuWatch)")
    await viewer.until("captions", "() => sfuWatch.state.caption === 'en'", within=15)
    await do(stream_server, "end")
    await viewer.phase("ended")
    await viewer.press("replay")
    await viewer.until("captions of the replay", "() => sfuWatch.state.replay && sfuWatch.state.caption === 'en'")
    await viewer.until(
        "their words",
        "() => [...sfuWatch.video.textTracks].some((track) => track.mode === 'showing' && track.cues?.length)",
    )


async def test_a_browser_that_forbids_sound_plays_without(arrive: Open, stream_server: aiohttp.ClientSession) -> None:
    await do(stream_server, "begin")
    viewer = await arrive(script=NO_SOUND)
    await viewer.plays()
    assert await viewer.run("() => sfuWatch.video.muted")
    await viewer.press("unmute")
    await viewer.until("sound", "() => !sfuWatch.video.muted && !sfuWatch.video.paused")
    await viewer.part("unmute").wait_for(state="detached")  # painted with the next frame


async def test_on_a_phone_and_accessible(arrive: Open, stream_server: aiohttp.ClientSession, axe: str) -> None:
    viewer = await arrive(**PHONE)
    found = {}

    async def look_at(what: str) -> None:
        if lines := await findings(viewer, axe):
            found[what] = lines

    await viewer.phase("waiting")
    await look_at("waiting")
    await do(stream_server, "begin")
    await viewer.plays()
    await viewer.press("quality")
    await look_at("playing")
    assert await viewer.run("() => document.documentElement.scrollWidth <= innerWidth")
    await do(stream_server, "end")
    await viewer.phase("ended")
    await look_at("ended")
    assert found == {}


@pytest.mark.parametrize("token", ["", "nonsense"])
async def test_a_missing_invitation_is_reported(chromium: Browser, token: str) -> None:
    async with opened("--private") as url, aiohttp.ClientSession(url) as client:
        await do(client, "begin")
        context = await chromium.new_context()
        page = await context.new_page()
        if not token:
            # As on a server that is not in development mode.
            await page.route("**/api/dev/token", lambda route: route.fulfill(status=404))
        await page.goto(f"{url}/watch/live#token={token}")
        viewer = Viewer(page)
        await viewer.until("the page", "() => Boolean(globalThis.sfuWatch)")
        await viewer.phase("denied")
        # The state is there a frame before the words are.
        await viewer.until("the reason", "() => /invitation/i.test(document.querySelector('.end')?.innerText ?? '')")
        assert "token" not in await viewer.run("() => location.href")
        if not token:
            await page.unroute("**/api/dev/token")
            await page.reload()
            await viewer.until("the page", "() => Boolean(globalThis.sfuWatch)")
            await viewer.plays()
            assert "/~" in await viewer.run("() => sfuWatch.access.base")
        await context.close()
