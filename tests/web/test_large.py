"""A room that sends only so many cameras: who is not shown is a person with a name, and a reason; a pin shows it."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.web.guest import Meeting
from tests.web.server import ServerProcess, serve

TILE = "(who) => document.querySelector(`[data-testid=tile][data-participant='${who}']`)"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ServerProcess]:
    async with serve(tmp_path_factory.mktemp("server") / "log", {"rooms.last_n": 1}) as running:
        yield running


async def test_hidden_participants_are_names_with_a_reason_until_pinned(meeting: Meeting) -> None:
    ada, bob, cem = [await meeting.join(name) for name in ("Ada", "Bob", "Cem")]
    for guest in (bob, cem):  # Ada is the last who speaks
        await guest.page.keyboard.press("m")
    bobs = await bob.id()
    await cem.sees(await ada.track())
    await cem.until(
        "Bob without a picture",
        f"""(who) => {{
            const tile = ({TILE})(who);
            return tile && !tile.hasAttribute('playing') && tile.innerText.includes('recent speakers')
                && tile.querySelector('[data-testid=tile-name]').innerText === 'Bob';
        }}""",
        bobs,
    )
    await ada.sees(await bob.track())  # she is the one who is shown, and sees who would be in her place
    await cem.page.locator(f"[data-testid=tile][data-participant='{bobs}']").hover()
    await cem.page.locator(f"[data-testid=tile][data-participant='{bobs}'] [data-testid=tile-pin]").click()
    await cem.sees(await bob.track())
    await cem.until("Bob's picture", f"(who) => ({TILE})(who)?.hasAttribute('playing')", bobs)
    await cem.until("no reason any more", f"(who) => !({TILE})(who).innerText.includes('recent speakers')", bobs)
