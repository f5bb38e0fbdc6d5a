"""The statistics overlay explains the quality of a picture."""

import asyncio
import socket
from pathlib import Path

import aiohttp
import pytest
from playwright.async_api import async_playwright

from tests.support.impaired import NEAR, far_host, own_namespace, possible
from tests.support.ports import free_port
from tests.web.conftest import CHROMIUM, chromium_path, launch
from tests.web.guest import THREE_LAYERS, Guest, Meeting, gathering
from tests.web.server import KEYS, ServerProcess, serve, token

GRADES = {"good", "warning", "severe"}


async def reasons(guest: Guest) -> dict[str, tuple[str, str]]:
    """Texts of the overlay: (cause, text) by track."""
    found: list[list[str]] = await guest.run(
        """() => [...document.querySelectorAll('[data-testid=stats-overlay] [data-testid=why]')]
            .map(({ dataset, innerText }) => [dataset.track, dataset.cause, innerText])"""
    )
    return {track: (cause, words) for track, cause, words in found}


async def test_the_overlay_says_why(meeting: Meeting, server: ServerProcess) -> None:
    ada, bob = await meeting.join("Ada", camera=THREE_LAYERS), await meeting.join("Bob")
    track = await ada.track()
    await bob.sees(track)
    await bob.page.keyboard.press("i")
    await bob.part("stats-overlay").wait_for()
    cause = "(track) => document.querySelector(`[data-testid=why][data-track='${track}']`)?.dataset.cause"
    for settings, expected, words in (
        ({"paused": True}, "hidden", "not visible"),
        ({"paused": False, "width": 240, "height": 135}, "requested", "Full quality for its size on your screen."),
    ):
        await bob.subscribe({"track": track, **settings})
        await bob.until(expected, f"(asked) => ({cause})(asked[0]) === asked[1]", [track, expected], within=30)
        assert words in (await reasons(bob))[track][1]
    await bob.until(
        "the decisions", "() => document.querySelectorAll('[data-testid=decision][data-kind=paused]').length"
    )
    rows = await bob.run(
        """() => Object.fromEntries([...document.querySelectorAll('[data-testid=stats-row]')]
            .map(({ dataset, innerText }) => [dataset.name, [dataset.grade ?? '', innerText]]))"""
    )
    assert {name for name, (grade, _) in rows.items() if grade in GRADES} == {"Latency", "Jitter", "Loss"}
    assert "ms" in rows["Latency"][1]
    assert "bit/s" in rows["Download bandwidth"][1]
    assert await _reports(server) > 0  # pages report every five seconds


@pytest.mark.skipif(bool(possible()), reason=possible())
async def test_a_narrow_path_is_explained(tmp_path: Path) -> None:
    """The viewer is on another host behind a link of 500 kbit/s."""
    with own_namespace():
        async with far_host() as line, async_playwright() as playwright:
            port, name = free_port(), "narrow"
            origin = f"http://{NEAR}:{port}"
            near = await launch(playwright)
            far = await playwright.chromium.launch(
                executable_path=str(line.program(tmp_path, chromium_path())),
                args=[*CHROMIUM, f"--unsafely-treat-insecure-origin-as-secure={origin}"],
            )
            settings = {"http.host": "0.0.0.0", "rtc.announce": NEAR, "rtc.udp_port": free_port(socket.SOCK_DGRAM)}
            async with (
                serve(tmp_path / "log", settings, KEYS, port=port) as server,
                gathering(near, server.url, name) as meeting,
            ):
                await line.set("out", rate=0.5e6, queue=0.3, delay=0.02)
                await line.set("back", delay=0.02)
                ada = await meeting.invite("Ada")
                await ada.enter(meeting.address(camera=THREE_LAYERS, token=await token(name, "ada")))
                bob = await meeting.invite("Bob", browser=far)
                await bob.enter(meeting.address(origin, THREE_LAYERS, token=await token(name, "bob")))
                await bob.page.keyboard.press("i")
                await bob.until(
                    "a reason",
                    "() => ['budget', 'hold', 'tier'].includes(document.querySelector('[data-testid=why]')?.dataset.cause)",
                    within=40,
                )
                (cause, words) = (await reasons(bob))[await ada.track()]
                assert words.splitlines()[-1].startswith(("Reduced", "Paused", "Limited")), (cause, words)
                assert server.errors() == []
            await far.close()
            await near.close()


async def _reports(server: ServerProcess) -> float:
    """How many browsers' reports the server has counted, once there are any."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + 15
    async with aiohttp.ClientSession() as client:
        while True:
            async with client.get(f"{server.url}/metrics") as answer:
                lines = (await answer.text()).splitlines()
            count = next(float(line.split()[1]) for line in lines if line.startswith("sfu_client_rtt_seconds_count"))
            if count or loop.time() > deadline:
                return count
            await asyncio.sleep(0.5)
