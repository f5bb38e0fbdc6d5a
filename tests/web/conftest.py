"""Real browsers against real server processes. Tests of one pytest process share a browser and a server in development mode.

Each test has its own room, and its pages have browser contexts of their own. A module that needs another browser or another
server has a fixture of the same name.
"""

import re
import shutil
from collections.abc import AsyncIterator, Generator, Iterable
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Playwright, async_playwright

from tests.web import axe as checker
from tests.web.firefox import Firefox
from tests.web.firefox import firefox as start_firefox
from tests.web.guest import Meeting, gathering
from tests.web.server import ServerProcess, serve

ARTIFACTS = Path(__file__).with_name("artifacts")
LOG_LINES = 60
FAKE_CAMERA = "--use-fake-device-for-media-stream=fps=15"
"""A page that asks for fewer frames than the camera makes gets none for two seconds when another page opens a camera."""
FAKE_CONSENT = "--use-fake-ui-for-media-stream"
CHROMIUM = (
    "--no-sandbox",
    FAKE_CAMERA,
    FAKE_CONSENT,
    "--auto-select-desktop-capture-source=Entire screen",
    "--autoplay-policy=no-user-gesture-required",
    "--allow-loopback-in-peer-connection",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
failed = pytest.StashKey[bool]()


def pytest_collection_modifyitems(items: Iterable[pytest.Item]) -> None:
    """The browser and the server outlive a test, and so does the event loop."""
    for item in items:
        if Path(__file__).parent in item.path.parents and pytest_asyncio.is_async_test(item):
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed:
        item.stash[failed] = True
    return report


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def playwright() -> AsyncIterator[Playwright]:
    async with async_playwright() as running:
        yield running


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def axe() -> str:
    return await checker.source()


def chromium_path(*, shell: bool = True) -> str:
    """The distribution's Chromium. The headless shell opens pages in half the time.

    It has no permission prompts, gathers ICE candidates of few networks, and gives no camera to pages of an insecure origin
    that a flag declares trustworthy: tests of these need the whole browser.
    """
    names = (*(["chromium-headless-shell"] if shell else []), "chromium", "chromium-browser", "google-chrome")
    path = next(filter(None, map(shutil.which, names)), None)
    assert path, "the browser tests need Chromium: apt-get install chromium"
    return path


async def launch(playwright: Playwright, *arguments: str, shell: bool = True) -> Browser:
    """A browser with a camera and a microphone that it makes up."""
    return await playwright.chromium.launch(executable_path=chromium_path(shell=shell), args=[*CHROMIUM, *arguments])


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def chromium(playwright: Playwright) -> AsyncIterator[Browser]:
    browser = await launch(playwright)
    yield browser
    await browser.close()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def firefox(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Firefox]:
    program = shutil.which("firefox-esr") or shutil.which("firefox")
    if program is None:
        pytest.skip("Firefox is not installed: apt-get install firefox-esr")
    async with start_firefox(program, tmp_path_factory.mktemp("firefox")) as browser:
        yield browser


@pytest_asyncio.fixture(loop_scope="session")
async def fox(firefox: Firefox) -> AsyncIterator[Firefox]:
    """A page of Firefox."""
    async with firefox.tab("Fox") as page:
        yield page


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ServerProcess]:
    """A server in development mode."""
    async with serve(tmp_path_factory.mktemp("server") / "log") as running:
        yield running


@pytest_asyncio.fixture(loop_scope="session")
async def meeting(chromium: Browser, server: ServerProcess, request: pytest.FixtureRequest) -> AsyncIterator[Meeting]:
    """A room of its own for each test. Whatever the test is about: no page may fail, no error may be logged."""
    room = re.sub(r"[^a-z0-9]+", "-", request.node.name.removeprefix("test_").lower()).strip("-")
    logged = len(server.errors())
    async with gathering(chromium, server.url, room) as meeting:
        yield meeting
        if request.node.stash.get(failed, False):
            print(await meeting.report(ARTIFACTS))
            print(*server.log.read_text(errors="replace").splitlines()[-LOG_LINES:], sep="\n")
    assert server.errors()[logged:] == []
    assert {guest.name: guest.failures for guest in meeting.guests if guest.failures} == {}
