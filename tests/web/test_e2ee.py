"""End-to-end encrypted media passes unchanged: two pages with the key see each other, a third does not."""

from pathlib import Path

from tests.web.guest import Guest, Meeting

SEALED = Path(__file__).with_name("sealed.js")
CAMERA = "320x180x15"
FRAMES = 20


async def enters(meeting: Meeting, name: str, **fragment: str) -> Guest:
    guest = await meeting.invite(name, bypass_csp=True)  # the page's own rules allow no worker made of text
    await guest.context.add_init_script(path=SEALED)
    await guest.enter(meeting.address(camera=CAMERA, **fragment))
    return guest


async def test_those_with_the_key_see_each_other_and_a_third_sees_nothing(meeting: Meeting) -> None:
    ada = await enters(meeting, "Ada", **{"test-key": "20261122"})
    bob = await enters(meeting, "Bob", **{"test-key": "20261122"})
    eve = await enters(meeting, "Eve")

    for one, other in ((ada, bob), (bob, ada)):
        camera = await other.track("camera")
        await one.sees(camera, frames=FRAMES)
        opened = await one.run("() => sealed")
        assert opened["opened"] > FRAMES
        video = one.page.locator(f'[data-track="{camera}"] video')
        assert await video.evaluate("(video) => video.videoWidth > 0")

    # Eve receives what they receive, and her page keeps asking for keyframes that it cannot read either.
    for other in (ada, bob):
        camera = await other.track("camera")
        await eve.until(
            "packets that she cannot read",
            "async ([track, packets]) => (await watched.pictures())[track]?.packetsReceived > packets",
            [camera, 3 * FRAMES],
        )
        assert (await eve.received(camera))["framesDecoded"] == 0

    # What Eve sends has no seal: those with the key refuse it, and what they have of each other goes on.
    assert (await ada.received(await eve.track("camera"))).get("framesDecoded", 0) == 0
    await ada.sees(await bob.track("camera"), frames=FRAMES)
