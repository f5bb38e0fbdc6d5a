"""A participant: the page of a real browser, operated as a person does, with access to its internal state."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from playwright.async_api import Browser, BrowserContext, ConsoleMessage, Error, Page

WATCH = Path(__file__).with_name("watch.js")
POLL = 0.1
CAMERA = "320x180x15"
"""The camera of most tests: small, because the machine that runs them encodes and decodes for all participants."""
TWO_LAYERS = "640x360x15"
"""The smallest camera of which Chromium sends two layers: 320 and 640 pixels wide."""
THREE_LAYERS = "960x540x15"
"""The smallest camera of which Chromium sends three layers: 240, 480 and 960 pixels wide."""
STREAMS = "() => watched.streams()"


class Visitor:
    """One page of whatever browser, as its own scripts see it. `run` is the browser's own."""

    name: str

    async def run(self, script: str, argument: object = None) -> Any:
        """Calls a JavaScript function in the page; its result as JSON would have it."""
        raise NotImplementedError

    async def until(self, what: str, script: str, argument: object = None, *, within: float = 30.0) -> Any:
        """Asks the page again and again until the script's result is true; that result."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + within
        while True:
            value = await self.run(script, argument)
            if value:
                return value
            if loop.time() > deadline:
                raise AssertionError(f"{self.name} waited {within} s in vain: {what}")
            await asyncio.sleep(POLL)

    async def id(self) -> str:
        """Its participant id."""
        found: str = await self.run("() => sfu.room.state.me.id")
        return found

    async def track(self, source: str = "camera") -> str:
        """The server's id of an own published track."""
        found: str = await self.until(
            f"its own {source} published",
            "(source) => [...sfu.room.publications].find((one) => one.source === source)?.id",
            source,
        )
        return found

    async def streams(self, direction: str, kind: str) -> list[dict[str, Any]]:
        """Statistics of its RTP streams; direction: inbound or outbound."""
        return [one for one in await self.run(STREAMS) if one["type"] == f"{direction}-rtp" and one["kind"] == kind]

    async def received(self, track: str) -> dict[str, Any]:
        """Statistics of one received track, empty when nothing came yet."""
        found: dict[str, Any] = (await self.run("() => watched.pictures()")).get(track, {})
        return found

    async def sees(self, track: str, *, frames: int = 5, within: float = 30.0) -> None:
        """Waits until so many more frames of a track are decoded."""
        before = (await self.received(track)).get("framesDecoded", 0)
        await self.until(
            f"{frames} more frames of {track}",
            "async ([track, frames]) => (await watched.pictures())[track]?.framesDecoded >= frames",
            [track, before + frames],
            within=within,
        )

    async def hears(self, track: str, *, within: float = 30.0) -> None:
        """Waits until more sound of a track is heard: packets, and energy in them."""
        before = await self.received(track)
        await self.until(
            f"the sound of {track}",
            """async ([track, packets, energy]) => {
                const now = (await watched.pictures())[track];
                return now && now.packetsReceived > packets && now.totalAudioEnergy > energy;
            }""",
            [track, before.get("packetsReceived", 0), before.get("totalAudioEnergy", 0)],
            within=within,
        )

    async def width(self, track: str, width: int, *, within: float = 30.0) -> None:
        """Waits until a track's picture is this wide."""
        await self.until(
            f"{track} at {width} pixels",
            "async ([track, width]) => (await watched.pictures())[track]?.frameWidth === width",
            [track, width],
            within=within,
        )

    async def subscribe(self, *tracks: Mapping[str, object]) -> None:
        """Sends subscription settings past the page, which sends changes of its tiles only."""
        message = {"type": "subscribe", "id": 1 << 40, "tracks": list(tracks)}
        await self.run("(message) => watched.sockets.at(-1).send(JSON.stringify(message))", message)

    async def marks(self, name: str) -> list[dict[str, Any]]:
        """Entries of watch.js under this name, with the page's own clock in milliseconds."""
        found: list[dict[str, Any]] = await self.run(
            "(name) => watched.marks.filter((mark) => mark.name === name)", name
        )
        return found


class Guest(Visitor):
    """One page of Chromium in one room."""

    def __init__(self, name: str, context: BrowserContext, page: Page) -> None:
        self.name = name
        self.context = context
        self.page = page
        self.console: list[str] = []
        self.failures: list[str] = []
        page.on("console", self._said)
        page.on("pageerror", lambda error: self.failures.append(str(error)))

    def _said(self, message: ConsoleMessage) -> None:
        self.console.append(f"{message.type}: {message.text}")

    def part(self, testid: str) -> Any:
        """The elements of this data-testid."""
        return self.page.get_by_test_id(testid)

    async def run(self, script: str, argument: object = None) -> Any:
        return await self.page.evaluate(script, argument)

    async def enter(self, url: str, *, waits: bool = False) -> None:
        """From the address to the meeting, by the lobby's own button; `waits`: up to the waiting room."""
        await self.page.goto(url)
        await self.part("name-input").fill(self.name)
        await self.until(
            "the camera's picture", "() => Boolean(sfu.local.state.camera.track || sfu.local.state.problems.camera)"
        )
        await self.part("join-button").click()
        await self.part("waiting" if waits else "meeting").wait_for()


class Meeting:
    """A room, and the pages in it."""

    def __init__(self, browser: Browser, url: str, room: str) -> None:
        self.browser = browser
        self.url = url
        self.room = room
        self.guests: list[Guest] = []

    def address(self, url: str = "", camera: str = CAMERA, **fragment: str) -> str:
        return f"{url or self.url}/r/{self.room}#{urlencode({'test-camera': camera, **fragment})}"

    async def invite(self, name: str, *, browser: Browser | None = None, **context: Any) -> Guest:
        """A page that has not gone anywhere yet."""
        view = await (browser or self.browser).new_context(
            **{"viewport": {"width": 960, "height": 540}, "reduced_motion": "reduce", **context}
        )
        await view.add_init_script(path=WATCH)
        guest = Guest(name, view, await view.new_page())
        self.guests.append(guest)
        return guest

    async def join(
        self, name: str, *, url: str = "", camera: str = CAMERA, waits: bool = False, **fragment: str
    ) -> Guest:
        """A new participant; `fragment`: options of the page, as in `codec="vp9"`."""
        guest = await self.invite(name)
        await guest.enter(self.address(url, camera, **fragment), waits=waits)
        return guest

    async def report(self, folder: Path) -> str:
        """Screenshots and console output of the pages, for a failed test."""
        lines = []
        for guest in self.guests:
            picture = folder / f"{self.room}-{guest.name}.png"
            try:
                await guest.page.screenshot(path=picture, timeout=5_000)
                lines.append(f"--- {guest.name}: {picture}")
            except Error as error:
                lines.append(f"--- {guest.name}: no screenshot: {error}")
            lines += guest.console + guest.failures
        return "\n".join(lines)


@asynccontextmanager
async def gathering(browser: Browser, url: str, room: str) -> AsyncIterator[Meeting]:
    meeting = Meeting(browser, url, room)
    try:
        yield meeting
    finally:
        for guest in meeting.guests:
            await guest.context.close()
