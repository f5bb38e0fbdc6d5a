"""A browser encodes only layers that are watched."""

import asyncio

import pytest

from tests.web.firefox import Firefox
from tests.web.guest import THREE_LAYERS, Meeting, Visitor
from tests.web.steady import watched

pytestmark = pytest.mark.quiet  # a pause is judged, and browsers that encode three layers send fewer on a busy machine


async def sending(guest: Visitor) -> set[str]:
    """The layers of its camera that are sent, by their rids."""
    return {one["rid"] for one in await guest.streams("outbound", "video") if one["active"] and one["rid"]}


async def sends(guest: Visitor, rids: set[str], *, within: float = 15.0) -> None:
    loop = asyncio.get_running_loop()
    deadline = loop.time() + within
    while (found := await sending(guest)) != rids:
        assert loop.time() < deadline, f"{guest.name} sends {found}, not {rids}"
        await asyncio.sleep(0.2)


async def test_layers_without_viewers_are_not_sent(meeting: Meeting) -> None:
    ada, bob = await meeting.join("Ada", camera=THREE_LAYERS), await meeting.join("Bob")
    track = await ada.track()
    await bob.subscribe({"track": track, "width": 960, "height": 540})
    await bob.width(track, 960, within=30)
    assert await sending(ada) == {"q", "h", "f"}

    async def smaller() -> None:
        await bob.subscribe({"track": track, "width": 240, "height": 135})
        await bob.width(track, 240)
        await sends(ada, {"q"})
        await bob.sees(track, frames=20)

    flow = await watched(bob, track, smaller)
    print(flow)
    assert flow.pause < 1.5, flow  # an encoder restarts with another set of layers

    await bob.subscribe({"track": track, "width": 480, "height": 270})
    await sends(ada, {"q", "h"})
    await bob.width(track, 480)
    await bob.subscribe({"track": track, "width": 960, "height": 540})
    await sends(ada, {"q", "h", "f"})
    await bob.width(track, 960)


SHARE = """async () => {
    const canvas = Object.assign(document.createElement('canvas'), { width: 320, height: 180 });
    const draw = canvas.getContext('2d');
    setInterval(() => draw.fillRect(Math.random() * 320, 0, 9, 180), 100);
    window.shared = await sfu.room.publish(canvas.captureStream(10).getTracks()[0], { source: 'unknown' });
}"""
FRAMES = """async () => {
    const report = await sfu.room.publisher.connection.getStats();
    const camera = [...sfu.room.publications].find(({ source }) => source === 'camera').transceiver.mid;
    return [...report.values()].filter((one) => one.type === 'outbound-rtp' && one.mid === camera)
        .map(({ rid, framesSent }) => [rid, framesSent]);
}"""
ACTIVE = """(rids) => {
    const { transceiver } = [...sfu.room.publications].find(({ source }) => source === 'camera');
    return transceiver.sender.getParameters().encodings.filter(({ active }) => active).map(({ rid }) => rid).join('') === rids;
}"""


async def rests(guest: Visitor, frames: int) -> None:
    """Layers above the lowest send (nearly) nothing while the lowest sends so many frames."""
    before = dict(await guest.run(FRAMES))
    assert set(before) == {"q", "h", "f"}
    lowest = f"async (frames) => Object.fromEntries(await ({FRAMES})()).q >= frames"
    await guest.until(f"{frames} frames of the lowest layer", lowest, before["q"] + frames)
    after = dict(await guest.run(FRAMES))
    grown = {rid: after[rid] - before[rid] for rid in after}
    assert max(grown["h"], grown["f"]) <= 3, grown


async def renegotiates(guest: Visitor, viewer: Visitor) -> None:
    """With layers that rest: a share, its end, an ICE restart, a resumed socket."""
    track = await guest.track()
    await viewer.until("a tile", "(track) => sfu.room.subscriptionSettings.current.has(track)", track)
    await viewer.sees(track, frames=20, within=30)  # the page has sent the settings of its tile
    await viewer.subscribe({"track": track, "width": 240, "height": 135, "paused": False})
    await viewer.sees(track, within=30)
    await guest.until("only the lowest layer", ACTIVE, "q", within=30)
    await guest.until("frames of it", "async () => ((await (" + FRAMES + ")())[0] ?? [])[1] > 0", within=30)
    for step in (SHARE, "() => sfu.room.unpublish(window.shared)", "() => sfu.room.publisher.restart()",
                 "() => watched.sockets.at(-1).close()"):  # fmt: skip
        await guest.run(step)
        await rests(guest, 25)
    await viewer.subscribe({"track": track, "width": 960, "height": 540})
    await viewer.width(track, 960, within=30)


async def test_resting_layers_do_not_come_back_with_a_negotiation(meeting: Meeting) -> None:
    ada, bob = await meeting.join("Ada", camera=THREE_LAYERS), await meeting.join("Bob", camera="320x180x15")
    await renegotiates(ada, bob)


async def test_the_same_of_firefox(meeting: Meeting, fox: Firefox) -> None:
    bob = await meeting.join("Bob", camera="320x180x15")
    await fox.enter(meeting.address(camera=THREE_LAYERS))
    await renegotiates(fox, bob)
