"""Three participants, one of them behind a bad link: it gets what the link carries, and the others do not notice.

The line is real: another network namespace, with everything between it and the server lost, delayed and queued on the way.
"""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Playwright, async_playwright

from tests.support import impaired
from tests.support.ports import free_port
from tests.web.conftest import CHROMIUM, chromium_path, launch
from tests.web.guest import THREE_LAYERS, Guest, Meeting, gathering
from tests.web.server import KEYS, ServerProcess, serve, token
from tests.web.steady import ATTEMPTS, Flow, flow

pytestmark = [
    pytest.mark.quiet,  # freezes and recovery times are judged
    pytest.mark.skipif(bool(impaired.possible()), reason=impaired.possible() or "possible"),
]
ROUND_TRIP = 0.1
SETTLING, WINDOW = 4.0, 10.0
"""Seconds after a change of the loss, and seconds of a measurement."""


@dataclass
class Place:
    """Where they meet."""

    line: impaired.Line
    near: Browser
    far: Browser
    server: ServerProcess
    origin: str
    "The server as the far host reaches it."

    async def join(self, meeting: Meeting, name: str, *, far: bool = False, **options: str) -> Guest:
        guest = await meeting.invite(name, browser=self.far if far else self.near)
        mine = await token(meeting.room, name.lower())
        await guest.enter(meeting.address(self.origin if far else self.server.url, token=mine, **options))
        return guest

    async def both_ways(self, **values: Any) -> None:
        for direction in ("out", "back"):
            await self.line.set(direction, **values)


@pytest.fixture(scope="module")
def namespace() -> Iterator[None]:
    with impaired.own_namespace():
        yield


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def playwright(namespace: None) -> AsyncIterator[Playwright]:
    async with async_playwright() as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def place(playwright: Playwright, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Place]:
    folder = tmp_path_factory.mktemp("networks")
    port = free_port()
    origin = f"http://{impaired.NEAR}:{port}"
    settings = {
        "http.host": "0.0.0.0",
        "rtc.announce": impaired.NEAR,
        "rtc.udp_port": free_port(socket.SOCK_DGRAM),
    }
    async with impaired.far_host() as line, serve(folder / "log", settings, KEYS, port=port) as server:
        near = await launch(playwright)
        far = await playwright.chromium.launch(
            executable_path=str(line.program(folder, chromium_path(shell=False))),
            args=[*CHROMIUM, f"--unsafely-treat-insecure-origin-as-secure={origin}"],
        )
        yield Place(line, near, far, server, origin)
        await far.close()
        await near.close()
        assert server.errors() == []


async def sampled(guests: tuple[Guest, ...], seconds: float) -> None:
    for guest in guests:
        await guest.run("() => watched.sample()")
    await asyncio.sleep(seconds)


async def concealed(guest: Guest, track: str) -> tuple[int, int]:
    """Samples of sound that had to be made up, of how many."""
    sound = await guest.received(track)
    return sound["concealedSamples"] - sound["silentConcealedSamples"], sound["totalSamplesReceived"]


async def test_loss(place: Place) -> None:
    """Security's table of goals, rows "loss": freezes and concealment by getStats, the sound sent once by its publisher."""
    await place.both_ways(delay=ROUND_TRIP / 2, loss=0.0, rate=None)
    async with gathering(place.near, place.server.url, "loss") as meeting:
        ada = await place.join(meeting, "Ada", red="off")
        good, bad = await place.join(meeting, "Good"), await place.join(meeting, "Bad", far=True)
        picture, sound = await ada.track(), await ada.track("microphone")
        for guest in (good, bad):
            await guest.sees(picture)
            await guest.hears(sound)
        for loss, frozen, made_up in ((0.1, 0.03, 0.03), (0.2, 0.1, 0.08)):
            await place.both_ways(loss=loss)
            await asyncio.sleep(SETTLING)
            found = []
            for _ in range(ATTEMPTS):
                before = await concealed(bad, sound)
                freezes = (await bad.received(picture))["totalFreezesDuration"]
                await sampled((good, bad), WINDOW)
                after = await concealed(bad, sound)
                still = ((await bad.received(picture))["totalFreezesDuration"] - freezes) / WINDOW
                missing = (after[0] - before[0]) / (after[1] - before[1])
                better = flow(await good.run("() => watched.samples"), picture)
                found.append((still, missing, better))
                if still <= frozen and missing <= made_up and better.freezes == 0:
                    break
            else:
                raise AssertionError(f"loss {loss}; frozen, concealed, the good line: {found}")
            print(loss, found[-1])
    await place.both_ways(loss=0.0)


async def test_a_network_that_is_gone_for_ten_seconds(place: Place) -> None:
    await place.both_ways(delay=0.01, loss=0.0, rate=None)
    async with gathering(place.near, place.server.url, "gone") as meeting:
        ada, bad = await place.join(meeting, "Ada"), await place.join(meeting, "Bad", far=True)
        stay, ways = await bad.id(), ((ada, await bad.track()), (bad, await ada.track()))
        for guest, picture in ways:
            await guest.sees(picture)
        await place.both_ways(loss=1.0)
        await asyncio.sleep(10)
        before = [(await guest.received(picture))["framesDecoded"] for guest, picture in ways]
        await place.both_ways(loss=0.0)
        back, took = asyncio.get_running_loop().time(), []
        for (guest, picture), frames in zip(ways, before, strict=True):
            while (await guest.received(picture))["framesDecoded"] < frames + 10:  # noqa: ASYNC110
                await asyncio.sleep(0.1)
            took.append(asyncio.get_running_loop().time() - back)
        print(took)
        assert max(took) < 5.0
        assert await bad.id() == stay, "it did not have to come again"
        assert await ada.marks("participant_left") == []


async def falls_and_returns(place: Place, name: str) -> tuple[float, int, float, Flow, Flow]:
    """A meeting on such a line: seconds until smaller, packets dropped later, seconds until large, the good line, the bad."""
    loop = asyncio.get_running_loop()
    await place.both_ways(delay=0.02, loss=0.0, rate=None)
    async with gathering(place.near, place.server.url, name) as meeting:
        ada = await place.join(meeting, "Ada", camera=THREE_LAYERS)
        good, bad = await place.join(meeting, "Good"), await place.join(meeting, "Bad", far=True)
        track = await ada.track()
        for guest in (good, bad):
            await guest.sees(track)
        await asyncio.sleep(1)  # the pages' own settings change for as long as people come in
        for guest in (good, bad):
            await guest.subscribe({"track": track, "width": 960, "height": 540})
        for guest in (good, bad):
            await guest.width(track, 960, within=40)
            await guest.run("() => watched.sample()")
        await place.line.set("out", rate=2_500_000, queue=0.3)
        await asyncio.sleep(4)

        begin = loop.time()
        await place.line.set("out", rate=500_000)
        await bad.until(
            "a smaller picture",
            "async (track) => { const { frameWidth } = (await watched.pictures())[track]; return frameWidth < 960; }",
            track,
        )
        down = loop.time() - begin
        await asyncio.sleep(max(0.0, 8 - down))
        dropped = (await place.line.counters())["out"]["overflowed"]
        await asyncio.sleep(4)
        # a probe may be too much for a moment
        more = (await place.line.counters())["out"]["overflowed"] - dropped

        begin = loop.time()
        await place.line.set("out", rate=3_000_000)
        with contextlib.suppress(AssertionError):  # judged below, and tried again
            await bad.width(track, 960, within=60)
        up = loop.time() - begin
        better, worse = [flow(await guest.run("() => watched.samples"), track) for guest in (good, bad)]
    return down, more, up, better, worse


async def test_a_line_that_becomes_narrow_and_wide_again(place: Place) -> None:
    """2.5 → 0.5 → 3 Mbit/s. What the path gets in which time is asked of the virtual network, to the packet."""
    found: list[object] = []
    fell = returned = False
    # each time another meeting: a layer that was lost twice is held back for longer
    for attempt in range(ATTEMPTS):
        try:
            down, more, up, better, worse = await falls_and_returns(place, f"narrow-{attempt}")
        except AssertionError as error:  # the machine was too busy to get as far as that
            found.append(str(error))
            continue
        found.append((down, more, up, better, worse))
        # 0.7 s and 12 s where nothing else runs; three browsers on two cores have to encode and decode, too
        steady = better.widths == (960,) and better.pause <= 1.0 and worse.pause <= 2.5
        fell = fell or (down < 8.0 and more <= 20 and steady)
        returned = returned or up < 60.0
        if fell and returned:
            print(found[-1])
            break
    else:
        raise AssertionError(f"down after, dropped later, up after, the good line, the bad one: {found}")
