"""Ways in that do not go smoothly: no camera, no permission, no room left. The page says so, and lets in whom it can."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Playwright

from tests.web.conftest import CHROMIUM, FAKE_CAMERA, FAKE_CONSENT, chromium_path
from tests.web.guest import Guest, Meeting, gathering
from tests.web.server import ServerProcess, serve

SMALL = "320x180x15"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ServerProcess]:
    """Rooms for two."""
    async with serve(tmp_path_factory.mktemp("server") / "log", {"rooms.max_participants": 2}) as running:
        yield running


async def barren(playwright: Playwright, missing: str, *more: str) -> Browser:
    """A browser without one of the things that make a meeting easy."""
    arguments = [argument for argument in CHROMIUM if argument != missing]
    path = chromium_path(shell=missing != FAKE_CONSENT)
    return await playwright.chromium.launch(executable_path=path, args=[*arguments, *more])


async def problems(guest: Guest) -> list[str]:
    """Codes of the lobby's problems."""
    await guest.part("problem").first.wait_for()
    await guest.until(
        "both devices tried", "() => sfu.local.state.problems.camera && sfu.local.state.problems.microphone"
    )
    await guest.part("problem").nth(1).wait_for()  # the page draws some time later
    codes: list[str] = await guest.part("problem").evaluate_all("(all) => all.map(({ dataset }) => dataset.code)")
    return codes


@pytest.mark.parametrize(
    ("missing", "more", "code", "words"),
    [
        (FAKE_CAMERA, (), "NotFoundError", "No camera found"),
        (FAKE_CONSENT, ("--deny-permission-prompts",), "NotAllowedError", "Camera is blocked"),
    ],
    ids=["no-device", "no-permission"],
)
async def test_a_missing_camera_is_reported_and_watching_is_possible(
    meeting: Meeting, playwright: Playwright, missing: str, more: tuple[str, ...], code: str, words: str
) -> None:
    ada = await meeting.join("Ada", camera=SMALL)
    browser = await barren(playwright, missing, *more)
    bob = await meeting.invite("Bob", browser=browser)
    await bob.page.goto(meeting.address(camera=SMALL))

    assert await problems(bob) == [code, code]
    assert words in " ".join(await bob.part("problem").all_inner_texts())

    await bob.enter(meeting.address(camera=SMALL))
    await bob.sees(await ada.track())
    await bob.hears(await ada.track("microphone"))
    assert await ada.part("tile").count() == 2
    await bob.context.close()
    await browser.close()


async def test_a_full_room_says_so(meeting: Meeting) -> None:
    await meeting.join("Ada", camera=SMALL)
    bob = await meeting.join("Bob", camera=SMALL)
    cleo = await meeting.invite("Cleo")
    await cleo.page.goto(meeting.address(camera=SMALL))
    await cleo.part("name-input").fill("Cleo")
    await cleo.part("join-button").click()

    await cleo.part("end").wait_for()
    assert await cleo.part("end").get_attribute("data-reason") == "room_full"
    assert "full" in await cleo.part("end").inner_text()

    await bob.part("leave").click()
    await cleo.part("rejoin").click()
    await cleo.part("join-button").click()
    await cleo.part("meeting").wait_for()


async def test_a_full_server_says_so(chromium: Browser, tmp_path: Path) -> None:
    """It refuses the socket, and browsers hide the reason from the page; participants resume all the same."""
    async with (
        serve(tmp_path / "log", {"signaling.max_sockets": 1}) as server,
        gathering(chromium, server.url, "crowd") as meeting,
    ):
        ada, bob = await meeting.invite("Ada"), await meeting.invite("Bob")
        await ada.enter(meeting.address(camera=SMALL))
        await bob.page.goto(meeting.address(camera=SMALL))
        await bob.part("name-input").fill("Bob")
        await bob.part("join-button").click()
        await bob.part("end").wait_for()
        assert await bob.part("end").get_attribute("data-reason") == "at_capacity"
        assert "The server is full" in await bob.part("end").inner_text()

        before = await ada.id()
        await ada.run("() => { sfu.room.renew(); }")
        await ada.until("the session again", "() => sfu.room.state.phase === 'joined'")
        assert await ada.id() == before
        assert server.errors() == []


async def test_the_same_person_again_takes_over(meeting: Meeting) -> None:
    first = await meeting.join("Ada", camera=SMALL, identity="ada")
    second = await meeting.join("Ada again", camera=SMALL, identity="ada")

    await first.part("end").wait_for()
    assert await first.part("end").get_attribute("data-reason") == "duplicate_identity"
    assert await second.part("meeting").is_visible()


async def test_a_camera_goes_off_and_comes_back(meeting: Meeting) -> None:
    ada, bob = await meeting.join("Ada", camera=SMALL), await meeting.join("Bob", camera=SMALL)
    track = await ada.track()
    await bob.sees(track)
    tile = bob.page.locator(f'[data-testid=tile][data-participant="{await ada.id()}"]')

    await ada.part("camera").click()
    await bob.until(
        "no picture of Ada",
        """(id) => {
            const [ada] = sfu.room.state.participants.values();
            const tile = document.querySelector(`[data-testid=tile][data-participant="${id}"]`);
            return ada.tracks.find(({ source }) => source === 'camera').muted && !tile.hasAttribute('playing');
        }""",
        await ada.id(),
    )
    assert await ada.run("() => sfu.local.state.camera.track === null")

    await ada.part("camera").click()
    await bob.sees(track)
    assert await tile.get_attribute("playing") is not None
