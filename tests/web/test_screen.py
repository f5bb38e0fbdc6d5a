"""A shared screen takes the stage, and gives it back."""

from tests.web.guest import Meeting


async def test_a_shared_screen_takes_the_stage(meeting: Meeting) -> None:
    ada, bob = await meeting.join("Ada", camera="320x180x15"), await meeting.join("Bob", camera="320x180x15")
    assert await bob.part("stage").get_attribute("data-layout") == "grid"

    await ada.part("share").click()

    screen = await ada.track("screen_share")
    await bob.sees(screen, frames=3)
    tile = bob.page.locator(f'[data-testid=tile][data-track="{screen}"]')
    await tile.wait_for()
    assert await tile.get_attribute("data-kind") == "screen"
    assert await bob.part("stage").get_attribute("data-layout") == "speaker"
    sizes = await bob.page.locator("[data-testid=tile]").evaluate_all(
        "(tiles) => tiles.map((tile) => [tile.dataset.kind, tile.clientWidth * tile.clientHeight])"
    )
    assert max(sizes, key=lambda one: one[1])[0] == "screen"
    # Its sound comes along, where the browser gives one.
    sound = await ada.track("screen_share_audio")
    await bob.until(
        "the screen's sound", "async (track) => (await watched.pictures())[track]?.packetsReceived > 10", sound
    )
    assert await ada.part("banner").get_attribute("data-kind") == "sharing"

    await ada.part("share").click()

    await tile.wait_for(state="detached")
    await bob.until("the grid", "() => document.querySelector('[data-testid=stage]').dataset.layout === 'grid'")
    await bob.sees(await ada.track())
