"""The server below a path of a real reverse proxy (nginx), which strips the prefix or does not, in Chromium."""

from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page

from tests.support.live_stream_process import opened
from tests.support.nginx import PATH, proxied
from tests.web.guest import gathering
from tests.web.server import KEYS, ServerProcess, serve, token
from tests.web.test_watch import Viewer

pytestmark = pytest.mark.skipif(PATH is None, reason="nginx is not installed: apt-get install nginx-light")
PREFIX = "/meet"
WAYS = {"stripped, unknown to the server": ("", True), "stripped": (PREFIX, True), "kept": (PREFIX, False)}


class AccessLog:
    """The log of the proxy."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._read = 0

    def missed(self) -> list[str]:
        """Requests since the last call that were answered with an error; 499: the page was closed meanwhile."""
        lines = self.path.read_text().splitlines()
        new = [line.split('"') for line in lines[self._read :]]
        self._read = len(lines)
        return [
            f"{line[1]} {line[2].split()[0]}"
            for line in new
            if line[2].split()[0] >= "400" and line[2].split()[0] != "499"
        ]


@pytest_asyncio.fixture(scope="module", loop_scope="session", params=WAYS)
async def behind(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[tuple[str, AccessLog]]:
    """Address of a server's root behind the proxy, and the proxy's log."""
    base, strip = WAYS[request.param]
    settings = {"http.base_path": base, "rtc.include_loopback": "true"}
    async with (
        serve(tmp_path_factory.mktemp("server") / "log", settings, KEYS) as server,
        proxied(server.port, PREFIX, strip=strip) as (origin, log),
    ):
        yield f"{origin}{PREFIX}", AccessLog(log)


async def test_two_people_meet(chromium: Browser, behind: tuple[str, AccessLog]) -> None:
    url, log = behind
    async with gathering(chromium, url, "hall") as meeting:
        ada = await meeting.join("Ada", token=await token("hall", "ada"))
        bob = await meeting.join("Bob", token=await token("hall", "bob"))
        await bob.sees(await ada.track())
        await ada.sees(await bob.track())
        assert urlsplit(ada.page.url).path == f"{PREFIX}/r/hall"
        assert ada.failures == bob.failures == []
        assert log.missed() == []


async def test_from_the_landing_page_to_the_lobby_and_back(chromium: Browser, behind: tuple[str, AccessLog]) -> None:
    url, log = behind
    page = await chromium.new_page()
    failures: list[str] = []
    page.on("pageerror", lambda error: failures.append(str(error)))
    await page.goto(f"{url}/")
    await page.get_by_test_id("room-input").fill("täglich")
    await page.get_by_test_id("name-input").fill("Ada")
    await page.get_by_test_id("enter-button").click()
    await page.get_by_test_id("lobby").wait_for()
    assert page.url == f"{url}/r/t%C3%A4glich"
    await page.reload()
    await page.get_by_test_id("lobby").wait_for()
    await page.go_back()
    await page.close()
    assert failures == []
    assert log.missed() == []


@pytest.mark.parametrize("private", [False, True], ids=["public", "with a playback token"])
@pytest.mark.parametrize("way", WAYS)
async def test_a_live_stream_is_watched(chromium: Browser, way: str, private: bool) -> None:
    base, strip = WAYS[way]
    arguments = [*(["--private"] if private else []), *(["--base-path", base] if base else [])]
    async with (
        opened(*arguments) as server,
        proxied(urlsplit(server).port or 0, PREFIX, strip=strip) as (origin, log),
    ):
        async with aiohttp.ClientSession() as client, client.post(f"{server}/control/begin") as answer:
            assert answer.status == 200
        page = await chromium.new_page()
        viewer = Viewer(page)
        await page.goto(f"{origin}{PREFIX}/watch/live")
        await viewer.until("the page", "() => Boolean(globalThis.sfuWatch)")
        await viewer.phase("playing")
        await viewer.plays()
        await page.close()
        assert viewer.failures == []
        # Before the live stream begins its index is missing; without an access token the request is refused once.
        assert [
            each for each in AccessLog(log).missed() if "index.m3u8" not in each and "/token HTTP" not in each
        ] == []


async def open_damaged(chromium: Browser, url: str) -> tuple[Page, list[str]]:
    page = await chromium.new_page()
    failures: list[str] = []
    page.on("pageerror", lambda error: failures.append(str(error)))
    await page.goto(url)
    await page.get_by_test_id("landing").wait_for()
    return page, failures


@pytest.mark.parametrize("path", ["r/%ff", "r/%E0%A4", "r/a%80b", "watch/%ff", "watch/%E0%A4", "watch/a%80b"])
async def test_a_damaged_link_leads_to_the_landing_page(chromium: Browser, server: ServerProcess, path: str) -> None:
    page, failures = await open_damaged(chromium, f"{server.url}/{path}")
    assert "damaged" in await page.get_by_test_id("broken-link").inner_text()
    # The way on.
    await page.get_by_test_id("room-input").fill("hall")
    await page.get_by_test_id("enter-button").click()
    await page.get_by_test_id("lobby").wait_for()
    assert page.url == f"{server.url}/r/hall"
    await page.close()
    assert failures == []


async def test_other_links_have_no_message(chromium: Browser, server: ServerProcess) -> None:
    page, failures = await open_damaged(chromium, f"{server.url}/")
    assert await page.get_by_test_id("broken-link").count() == 0
    await page.goto(f"{server.url}/r/%25ff")
    await page.get_by_test_id("lobby").wait_for()
    await page.close()
    assert failures == []


async def test_a_damaged_link_below_a_path(chromium: Browser, behind: tuple[str, AccessLog]) -> None:
    for path in ("r/%ff", "watch/%ff"):
        page, failures = await open_damaged(chromium, f"{behind[0]}/{path}")
        assert await page.get_by_test_id("broken-link").count() == 1
        await page.close()
        assert failures == []
