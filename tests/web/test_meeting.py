"""Two people meet: each sees and hears the other, with every layer sent, and nothing stands still."""

import asyncio

import pytest

from tests.web.guest import Guest, Meeting

pytestmark = pytest.mark.quiet  # freezes are judged
FULL_CAMERA = "1280x720x15"
LAYERS_DEADLINE = 5.0


async def meets(one: Guest, other: Guest) -> None:
    camera, microphone = await other.track("camera"), await other.track("microphone")
    await one.sees(camera, frames=15)
    await one.hears(microphone)


async def test_two_pages_see_and_hear_each_other(meeting: Meeting) -> None:
    ada, bob = await meeting.join("Ada"), await meeting.join("Bob")

    await asyncio.gather(meets(ada, bob), meets(bob, ada))

    for one, other in ((ada, bob), (bob, ada)):
        picture = await other.track("camera")
        before = await one.received(picture)
        await one.sees(picture, frames=20)
        camera = await one.received(picture)
        assert camera["mime"] == "video/VP8"
        assert camera["freezeCount"] == 0
        # Frames of the replayed group of pictures, decoded before, are not shown.
        decoded = camera["framesDecoded"] - before["framesDecoded"]
        assert camera["framesDropped"] - before["framesDropped"] <= decoded * 0.2
        microphone = await one.received(await other.track("microphone"))
        assert microphone["concealedSamples"] <= microphone["totalSamplesReceived"] * 0.1
        video = one.page.locator(f'[data-track="{await other.track("camera")}"] video')
        assert await video.evaluate("(video) => video.videoWidth > 0 && !video.paused")


async def test_a_publisher_reaches_all_its_layers_within_five_seconds(meeting: Meeting) -> None:
    ada = await meeting.invite("Ada")
    await ada.page.add_init_script("watched.layers()")

    await ada.enter(meeting.address(camera=FULL_CAMERA))

    layers = await ada.until(
        "frames of all three layers",
        "() => Object.keys(watched.reached).length === 3 && watched.reached",
        within=30.0,
    )
    assert {rid: layer["width"] for rid, layer in layers.items()} == {"q": 320, "h": 640, "f": 1280}
    assert max(layer["after"] for layer in layers.values()) < LAYERS_DEADLINE, layers
