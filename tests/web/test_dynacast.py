"""A browser encodes what somebody watches, and no more."""

import asyncio

from tests.web.guest import THREE_LAYERS, Guest, Meeting
from tests.web.steady import watched


async def sending(guest: Guest) -> set[str]:
    """The layers of its camera that are sent, by their rids."""
    return {one["rid"] for one in await guest.streams("outbound", "video") if one["active"]}


async def sends(guest: Guest, rids: set[str], *, within: float = 15.0) -> None:
    loop = asyncio.get_running_loop()
    deadline = loop.time() + within
    while (found := await sending(guest)) != rids:
        assert loop.time() < deadline, f"{guest.name} sends {found}, not {rids}"
        await asyncio.sleep(0.2)


async def test_layers_that_nobody_watches_are_not_sent(meeting: Meeting) -> None:
    ada, bob = await meeting.join("Ada", camera=THREE_LAYERS), await meeting.join("Bob")
    track = await ada.track()
    await bob.wish({"track": track, "width": 960, "height": 540})
    await bob.width(track, 960, within=30)
    assert await sending(ada) == {"q", "h", "f"}

    async def smaller() -> None:
        await bob.wish({"track": track, "width": 240, "height": 135})
        await bob.width(track, 240)
        await sends(ada, {"q"})
        await bob.sees(track, frames=20)

    flow = await watched(bob, track, smaller)
    print(flow)
    assert flow.pause < 1.5, flow  # an encoder that gets another set of layers begins anew

    await bob.wish({"track": track, "width": 480, "height": 270})
    await sends(ada, {"q", "h"})
    await bob.width(track, 480)
    await bob.wish({"track": track, "width": 960, "height": 540})
    await sends(ada, {"q", "h", "f"})
    await bob.width(track, 960)
