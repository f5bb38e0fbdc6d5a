"""axe-core finds no serious accessibility violation in any part of the page."""

from typing import Any

import pytest

from tests.web.axe import findings
from tests.web.guest import Meeting

SMALL = "320x180x15"
PHONE = {"viewport": {"width": 360, "height": 640}, "is_mobile": True, "has_touch": True, "device_scale_factor": 2}


CONTRAST = ["color-contrast"]
"""The rules whose outcome depends on colors: dark pages differ from light ones in their colors only."""


@pytest.mark.parametrize("look", [{}, PHONE], ids=["desktop", "phone"])
async def test_the_whole_way_through_a_meeting(meeting: Meeting, axe: str, look: dict[str, Any]) -> None:
    ada = await meeting.invite("Ada", **look)
    found: dict[str, list[str]] = {}

    async def look_at(what: str) -> None:
        await ada.page.emulate_media(color_scheme="dark", reduced_motion="reduce")
        if lines := await findings(ada, axe, CONTRAST):
            found[f"{what}, dark"] = lines
        await ada.page.emulate_media(color_scheme="light", reduced_motion="reduce")
        if lines := await findings(ada, axe):
            found[what] = lines

    await ada.page.goto(meeting.url)
    await ada.part("landing").wait_for()
    await look_at("landing")
    await ada.page.goto(meeting.address(camera=SMALL))
    await ada.part("name-input").fill("Ada")
    await ada.until("the camera", "() => Boolean(sfu.local.state.camera.track)")
    await look_at("lobby")
    await ada.part("join-button").click()
    await ada.part("alone").wait_for()
    await look_at("alone")
    bob = await meeting.join("Bob", camera=SMALL)
    await ada.sees(await bob.track())
    await look_at("meeting")
    await ada.page.keyboard.press("i")
    await ada.part("why").wait_for()
    await look_at("statistics")
    await ada.page.keyboard.press("i")
    await ada.part("chat-toggle").click()
    await ada.run("() => sfu.room.chat('Shall we start? https://example.org')")
    await bob.run("() => sfu.room.chat('Yes.')")
    await ada.until("two lines", "() => document.querySelectorAll('[data-testid=chat-message]').length === 2")
    await look_at("chat")
    await ada.run("() => sfu.act.togglePanel('people')")
    await ada.part("people-panel").wait_for()
    await look_at("people")
    await ada.run("() => sfu.act.togglePanel('people')")
    await ada.part("more").click()
    await look_at("menu")
    await ada.part("settings").click()
    await ada.part("settings-dialog").wait_for()
    await look_at("settings")
    await ada.part("dialog-close").click()
    await ada.run("() => sfu.act.toggleStats()")
    await ada.run("() => sfu.act.leave()")
    await ada.part("end").wait_for()
    await look_at("end")

    assert found == {}


async def test_a_meeting_by_keyboard_alone(meeting: Meeting) -> None:
    bob = await meeting.join("Bob", camera=SMALL)
    ada = await meeting.invite("Ada")
    keyboard = ada.page.keyboard

    await ada.page.goto(meeting.address(camera=SMALL))
    await ada.part("name-input").focus()
    await keyboard.type("Ada")
    await keyboard.press("Enter")
    await ada.part("meeting").wait_for()
    await ada.track("microphone")
    await keyboard.press("m")
    await bob.until("Ada muted", "() => [...sfu.room.state.participants.values()][0].tracks.some(({ muted }) => muted)")
    await keyboard.press("c")
    await ada.part("chat-input").wait_for()
    await ada.until("the cursor in the chat", "() => document.activeElement?.dataset.testid === 'chat-input'")
    await keyboard.type("m is a letter here")
    await keyboard.press("Enter")
    await bob.until("the line", "() => sfu.room.state.chat[0]?.text === 'm is a letter here'")
    await keyboard.press("Escape")
    await ada.part("chat-panel").wait_for(state="detached")
    for _ in range(40):
        await keyboard.press("Tab")
        if await ada.run("() => document.activeElement?.dataset.testid === 'leave'"):
            break
    await keyboard.press("Enter")
    await ada.part("end").wait_for()
