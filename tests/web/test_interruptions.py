"""The browser pauses sound and pictures, as for a phone call. They come back, or the page asks for a gesture."""

import asyncio

from tests.web.firefox import Firefox
from tests.web.guest import Meeting, Visitor

SMALL = "320x180x15"
PLAYING = """(many) => {
    // Sounds are not in the document. A picture that left it, as the lobby's preview does, stays paused.
    const shown = [...watched.players].filter(({ tagName, isConnected }) => tagName === 'AUDIO' || isConnected);
    const live = shown.filter(({ srcObject }) => srcObject?.active);
    return live.filter(({ tagName }) => tagName === 'AUDIO').length === many && live.every(({ paused }) => !paused);
}"""
PAUSE = "() => { for (const one of watched.players) one.pause(); }"
REFUSE = """() => {
    // An interruption that goes on: the browser refuses until a gesture.
    const { play } = HTMLMediaElement.prototype;
    globalThis.refusing = true;
    HTMLMediaElement.prototype.play = function () {
        watched.players.add(this);
        if (refusing && !this.muted) return Promise.reject(new DOMException('', 'NotAllowedError'));
        return play.call(this);
    };
}"""


async def plays(visitor: Visitor, many: int) -> None:
    await visitor.until(f"{many} sounds and all pictures", PLAYING, many, within=15)


async def test_sound_and_pictures_come_back_after_an_interruption(meeting: Meeting) -> None:
    ada, bob = await meeting.join("Ada", camera=SMALL), await meeting.join("Bob", camera=SMALL)
    await ada.hears(await bob.track("microphone"))
    await plays(ada, 1)
    for _ in range(3):
        await ada.run(PAUSE)
        await plays(ada, 1)
    assert await ada.run("() => !sfu.state.soundBlocked")
    await ada.sees(await bob.track())


async def test_sound_that_the_browser_refuses_asks_for_a_gesture(meeting: Meeting) -> None:
    ada, bob = await meeting.join("Ada", camera=SMALL), await meeting.join("Bob", camera=SMALL)
    await ada.hears(await bob.track("microphone"))
    await ada.run(REFUSE)
    await ada.run(PAUSE)
    banner = ada.page.locator("[data-testid=banner][data-kind=sound]")
    await banner.wait_for()
    cleo = await meeting.join("Cleo", camera=SMALL)
    await ada.until(
        "Cleo's sound", "() => [...sfu.room.media.values()].filter(({ kind }) => kind === 'audio').length === 2"
    )
    await asyncio.sleep(1.5)
    assert await banner.is_visible()
    await ada.run("() => addEventListener('pointerdown', () => (globalThis.refusing = false), true)")
    await banner.get_by_role("button").click()
    await plays(ada, 2)
    await banner.wait_for(state="detached")
    await ada.hears(await cleo.track("microphone"))


async def test_sound_that_is_refused_at_the_join(meeting: Meeting) -> None:
    """A tab that a program opened, without user activation. A participant that leaves is no interruption."""
    bob, cleo = await meeting.join("Bob", camera=SMALL), await meeting.join("Cleo", camera=SMALL)
    ada = await meeting.invite("Ada")
    await ada.page.add_init_script(f"({REFUSE})()")
    await ada.enter(meeting.address(camera=SMALL))
    banner = ada.page.locator("[data-testid=banner][data-kind=sound]")
    await banner.wait_for()
    await ada.run("() => { globalThis.refusing = false; }")
    await banner.wait_for(state="detached")  # by itself, without a gesture
    await plays(ada, 2)
    await cleo.part("leave").click()
    await plays(ada, 1)
    await asyncio.sleep(2.5)
    assert await ada.run("() => !sfu.state.soundBlocked")
    await ada.hears(await bob.track("microphone"))


async def test_sound_comes_back_in_firefox(meeting: Meeting, fox: Firefox) -> None:
    ada = await meeting.join("Ada", camera=SMALL)
    await fox.enter(meeting.address())
    await fox.hears(await ada.track("microphone"), within=30)
    await fox.run(PAUSE)
    await plays(fox, 1)
    await fox.run(REFUSE)
    await fox.run(PAUSE)
    await fox.until("the notice", "() => document.querySelector('[data-kind=sound]') !== null")
    await fox.run("() => { globalThis.refusing = false; document.querySelector('[data-kind=sound] button').click(); }")
    await plays(fox, 1)
    await fox.until("no notice", "() => document.querySelector('[data-kind=sound]') === null")
