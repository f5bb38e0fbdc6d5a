"""Takes the picture of a meeting that the README shows: `python -m tests.web.picture`.

A real meeting in real browsers; only the people in front of the cameras are drawn.
"""

import asyncio
import tempfile
from pathlib import Path

from playwright.async_api import async_playwright

from tests.web.conftest import launch
from tests.web.guest import Guest, gathering
from tests.web.server import serve

DRAWN_CAMERA = Path(__file__).with_name("drawn_camera.js")
PICTURE = Path(__file__).with_name("meeting.png")
NAMES = ("Ada", "Malik", "Radia", "Tim", "Annie", "Vint")
LINES = (
    (1, "Morning! Everybody in?"),
    (2, "Here. Notes are at https://example.org/standup"),
    (4, "Thank you, Radia 👏"),
    (3, "I will share my screen in a minute."),
)


async def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        async with async_playwright() as playwright, serve(Path(folder) / "log") as server:
            browser = await launch(playwright)
            async with gathering(browser, server.url, "standup") as meeting:
                guests: list[Guest] = []
                for number, name in enumerate(NAMES):
                    # Only one looks at it all; what the others show is kept as small as can be.
                    size = {"width": 1440, "height": 900} if number == 0 else {"width": 260, "height": 180}
                    guest = await meeting.invite(name, viewport=size)
                    await guest.context.add_init_script(path=DRAWN_CAMERA)
                    await guest.enter(meeting.address(drawn=str(number)))
                    guests.append(guest)
                ada = guests[0]
                await ada.part("chat-toggle").click()
                for number, text in LINES:
                    await guests[number].run("(text) => sfu.room.chat(text)", text)
                for number in (0, 1, 3, 4):
                    await guests[number].run("() => sfu.act.toggleMicrophone()")
                await guests[5].run("() => sfu.act.toggleMicrophone()")
                await guests[4].run("() => sfu.act.toggleHand()")
                for guest in guests[1:]:
                    await ada.sees(await guest.track(), frames=20, within=60)
                speaker = await guests[2].id()
                await ada.until("no more notes", "() => !sfu.state.toasts.length", within=30)
                await ada.until("a speaker", "(id) => sfu.room.state.levels.get(id) > 0", speaker)
                await ada.page.screenshot(path=PICTURE)
            await browser.close()


if __name__ == "__main__":
    asyncio.run(main())
