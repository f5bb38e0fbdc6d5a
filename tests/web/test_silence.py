"""A client stops without a message or packets, like a laptop whose lid is closed. The others get its departure."""

import os
import signal
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import Playwright

from tests.web.conftest import launch
from tests.web.guest import Meeting
from tests.web.server import ServerProcess, serve

LOST_DEADLINE = 12.0
LEFT_DEADLINE = 20.0


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ServerProcess]:
    """Shorter timeouts than the defaults, but long enough for the quality to be sent before the departure."""
    settings = {"signaling.heartbeat": 3, "signaling.resume_window": 5}
    async with serve(tmp_path_factory.mktemp("server") / "log", settings) as running:
        yield running


async def test_a_stopped_client_is_noticed_and_may_come_back(meeting: Meeting, playwright: Playwright) -> None:
    browser = await launch(playwright)
    ada = await meeting.join("Ada")
    bob = await meeting.invite("Bob", browser=browser)
    await bob.enter(meeting.address())
    gone = await bob.id()
    await ada.sees(await bob.track())
    await bob.sees(await ada.track())
    await ada.until("a good word", "(id) => sfu.room.state.quality.get(id) === 'excellent'", gone, within=30)
    session = await browser.new_browser_cdp_session()
    processes = [one["id"] for one in (await session.send("SystemInfo.getProcessInfo"))["processInfo"]]

    for process in processes:
        os.kill(process, signal.SIGSTOP)
    try:
        await ada.until(
            "Bob's quality to be lost", "(id) => sfu.room.state.quality.get(id) === 'lost'", gone, within=LOST_DEADLINE
        )
        await ada.until("Bob's departure", "(id) => !sfu.room.state.participants.has(id)", gone, within=LEFT_DEADLINE)
    finally:
        for process in processes:
            os.kill(process, signal.SIGCONT)
    (left,) = await ada.marks("participant_left")
    assert left["detail"]["participant"] == gone
    assert left["detail"]["reason"] == "timeout"

    # The lid opens again: a new stay, without a hand on the keyboard.
    await bob.until(
        "a new stay", "(id) => sfu.room.state.phase === 'joined' && sfu.room.state.me.id !== id", gone, within=30
    )
    await ada.sees(await bob.track())
    await bob.sees(await ada.track())
    await bob.context.close()
    await browser.close()
