"""Firefox and Chromium meet: other offers, other RTCP, other ideas of simulcast."""

import asyncio

from tests.web.firefox import Firefox
from tests.web.guest import THREE_LAYERS, Meeting


async def test_firefox_and_chromium_see_and_hear_each_other(meeting: Meeting, fox: Firefox) -> None:
    ada = await meeting.join("Ada")
    await fox.enter(meeting.address())

    hers, its = await ada.track(), await fox.track()
    await asyncio.gather(
        fox.sees(hers, within=30),
        fox.hears(await ada.track("microphone"), within=30),
        ada.sees(its, within=30),
        ada.hears(await fox.track("microphone"), within=30),
    )

    await ada.run("() => sfu.room.chat('Hello Fox')")
    await fox.until("the chat", "() => sfu.room.state.chat.some(({ text }) => text === 'Hello Fox')")


async def test_layers_switch_between_firefox_and_chromium(meeting: Meeting, fox: Firefox) -> None:
    ada = await meeting.join("Ada", camera=THREE_LAYERS)
    await fox.enter(meeting.address(camera=THREE_LAYERS))
    hers, its = await ada.track(), await fox.track()

    for one, track in ((ada, its), (fox, hers)):
        for width in (960, 240, 960):
            await one.subscribe({"track": track, "width": width, "height": width * 9 // 16})
            await one.width(track, width, within=30)
            await one.sees(track)


async def test_firefox_restarts_ice_while_the_media_goes_on(meeting: Meeting, fox: Firefox) -> None:
    ada = await meeting.join("Ada")
    await fox.enter(meeting.address())
    hers, its = await ada.track(), await fox.track()
    await asyncio.gather(fox.sees(hers, within=30), ada.sees(its, within=30))

    await fox.run("() => { sfu.room.publisher.restart(); return sfu.room.subscriber.restart().then(() => true); }")

    await asyncio.gather(fox.sees(hers, frames=60, within=30), ada.sees(its, frames=60, within=30))
    assert await fox.run("() => watched.connections.map(({ connectionState }) => connectionState)") == ["connected"] * 2
