"""A small tile gets few pixels, a large one many, and the change is not visible."""

import asyncio

import pytest

from tests.web.guest import THREE_LAYERS, Guest, Meeting
from tests.web.steady import steady

SWITCH_DEADLINE = 3.0
"""A switch waits for a keyframe, which a browser that runs on a busy machine may take its time for."""


async def switch(guest: Guest, track: str, width: int, *, within: float = 15.0) -> float:
    """Asks for a width and waits for it; the seconds that it took."""
    loop = asyncio.get_running_loop()
    start = loop.time()
    await guest.subscribe({"track": track, "width": width, "height": width * 9 // 16})
    await guest.width(track, width, within=within)
    return loop.time() - start


@pytest.mark.quiet  # pauses are judged
async def test_layers_switch_up_and_down_without_a_freeze(meeting: Meeting) -> None:
    ada, bob = await meeting.join("Ada", camera=THREE_LAYERS), await meeting.join("Bob")
    track = await ada.track()
    await switch(bob, track, 960, within=30)
    took: list[float] = []

    async def up_and_down() -> None:
        took.clear()
        for width in (240, 960, 480, 240, 480, 960):
            took.append(await switch(bob, track, width))
            await bob.sees(track, frames=10)

    flow = await steady(bob, track, up_and_down)

    assert flow.widths == (960, 240, 960, 480, 240, 480, 960)
    assert max(took) < SWITCH_DEADLINE, took
    print("took", took, flow)


async def test_a_tile_asks_for_the_size_that_it_has(meeting: Meeting) -> None:
    ada, bob = await meeting.join("Ada", camera=THREE_LAYERS), await meeting.join("Bob")
    track = await ada.track()

    for size, layer in (((1280, 720), 960), ((400, 200), 480), ((250, 170), 240), ((1280, 720), 960)):
        await bob.page.set_viewport_size({"width": size[0], "height": size[1]})
        # A tile is covered, not letterboxed: a high one needs a picture wider than itself.
        await bob.until(
            "settings of the tile's size",
            """(track) => {
                const tile = document.querySelector(`[data-testid=tile][data-track="${track}"]`).getBoundingClientRect();
                const covering = Math.max(tile.width, (tile.height * 16) / 9);
                return Math.abs(sfu.room.subscriptionSettings.current.get(track)?.width - covering) <= 16;
            }""",
            track,
        )
        await bob.width(track, layer, within=30)


async def test_hidden_pictures_are_not_sent_and_come_back(meeting: Meeting) -> None:
    ada, bob = await meeting.join("Ada"), await meeting.join("Bob")
    track = await ada.track()
    await bob.sees(track)

    await bob.subscribe({"track": track, "paused": True})
    await bob.until("the pause", "(track) => sfu.room.state.subscriptions.get(track)?.paused", track)
    await bob.until(
        "packets that stop",
        """async (track) => {
            const before = watched.packets;
            watched.packets = (await watched.pictures())[track].packetsReceived;
            return before === watched.packets;
        }""",
        track,
    )
    await bob.subscribe({"track": track, "paused": False})
    await bob.sees(track)
