"""The statistics overlay, read by somebody who wants to know why a picture is as it is."""

import asyncio

import aiohttp

from tests.web.guest import THREE_LAYERS, Guest, Meeting
from tests.web.server import ServerProcess

GRADES = {"good", "warning", "severe"}


async def reasons(guest: Guest) -> dict[str, tuple[str, str]]:
    """What the overlay says of each picture: (cause, words) by track."""
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
    for wish, expected, words in (
        ({"paused": True}, "hidden", "you do not look at it"),
        ({"paused": False, "width": 240, "height": 135}, "wish", "As sharp as its place on your screen needs."),
    ):
        await bob.wish({"track": track, **wish})
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
    assert "bit/s" in rows["Can receive"][1]
    assert await _reports(server) > 0  # a page tells after five seconds


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
