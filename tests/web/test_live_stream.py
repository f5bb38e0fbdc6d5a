"""Live stream and recording from the meeting page: permitted participants have the buttons, and all see a red notice."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.web.guest import Guest, Meeting
from tests.web.server import ServerProcess, serve

SMALL = "320x180x15"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ServerProcess]:
    """One that makes small live streams."""
    directory = tmp_path_factory.mktemp("server")
    environment = {
        "SFU_OUTPUTS__RENDITIONS": '["320x180@200"]',
        "SFU_OUTPUTS__HLS__DIRECTORY": str(directory / "hls"),
        "SFU_EGRESS__DIRECTORY": str(directory / "recordings"),
    }
    async with serve(directory / "log", environment=environment) as running:
        yield running


async def choose(guest: Guest, testid: str) -> None:
    await guest.part("more").click()
    await guest.part(testid).click()


async def test_all_participants_see_that_the_meeting_is_live_and_recorded(meeting: Meeting) -> None:
    ada, bob = await meeting.join("Ada", camera=SMALL), await meeting.join("Bob", camera=SMALL)
    assert await bob.part("on-air").count() == 0
    await choose(ada, "go-live")
    await choose(ada, "record")
    for guest in (ada, bob):
        await guest.part("on-air-live").wait_for()
        await guest.part("on-air-recording").wait_for()
    assert (await bob.part("on-air-live").get_attribute("href") or "").startswith("/watch/")

    await bob.part("more").click()
    assert await bob.part("go-live").count() == 0
    assert await bob.part("record").count() == 0
    await ada.part("more").click()
    await ada.part("egress-layout").select_option("grid")
    await bob.until("the layout", "() => sfu.room.state.room.egress.layout === 'grid'")
    await ada.part("more").click()

    await choose(ada, "record")
    await bob.part("on-air-recording").wait_for(state="detached")
    await choose(ada, "go-live")
    await bob.part("on-air").wait_for(state="detached")
