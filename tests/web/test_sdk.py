"""The example of `web/client/README.md` in Chromium: the page as it stands there, beside the SDK, on another origin."""

import re
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlencode

import pytest
import pytest_asyncio
from aiohttp import web

from tests.support.ports import free_port
from tests.web.guest import Guest, Meeting
from tests.web.server import KEYS, ServerProcess, serve, token

CLIENT = Path(__file__).parents[2] / "web" / "client"
EXAMPLE = re.compile(r"<!-- example: page -->\n```html\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PORT = free_port()
ORIGIN = f"http://localhost:{PORT}"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ServerProcess]:
    """A server with keys that accepts the application's origin, and the application."""
    (example,) = EXAMPLE.findall((CLIENT / "README.md").read_text(encoding="utf-8"))

    async def page(request: web.Request) -> web.Response:
        return web.Response(text=example, content_type="text/html")

    application = web.Application()
    application.add_routes([web.get("/", page), web.static("/client", CLIENT)])
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "localhost", PORT).start()
    settings = {"http.allowed_origins": ORIGIN, "rtc.include_loopback": "true"}
    async with serve(tmp_path_factory.mktemp("server") / "log", settings, KEYS) as running:
        yield running
    await runner.cleanup()


async def join(meeting: Meeting, name: str) -> Guest:
    guest = await meeting.invite(name)
    made = await token(meeting.room, name.lower(), "--name", name)
    fragment = urlencode({"url": f"ws{meeting.url.removeprefix('http')}/ws", "token": made})
    await guest.page.goto(f"{ORIGIN}/#{fragment}")
    await guest.page.get_by_role("button", name="Join").click()
    await guest.until("joined", "() => document.getElementById('status').textContent.startsWith('joined')")
    return guest


async def plays(guest: Guest) -> None:
    """Waits until video and sound of one other participant play."""
    await guest.until(
        "a video and a sound that play",
        """() => {
            const [video, ...videos] = document.querySelectorAll('video');
            const [sound, ...sounds] = document.querySelectorAll('audio');
            return video?.videoWidth > 0 && video.currentTime > 0 && sound?.currentTime > 0 && !videos.length && !sounds.length;
        }""",
        within=30,
    )


async def test_the_example_page(meeting: Meeting) -> None:
    ada, bob = await join(meeting, "Ada"), await join(meeting, "Bob")
    await plays(ada)
    await plays(bob)
    assert await bob.run("() => document.getElementById('status').textContent") == "joined: Bob, Ada"

    await ada.page.get_by_label("Message").fill("Hello Bob")
    await ada.page.get_by_role("button", name="Send").click()
    for guest in (ada, bob):
        await guest.page.get_by_text("Ada: Hello Bob").wait_for()

    await ada.page.get_by_role("button", name="Mute").click()
    await ada.page.get_by_role("button", name="Unmute").wait_for()

    await ada.page.get_by_role("button", name="Leave").click()
    await ada.page.get_by_text("left: You left the meeting.").wait_for()
    await bob.until("the tiles of Ada are gone", "() => !document.querySelector('video, audio')")
