"""Players watch a meeting over WHEP: Chromium with a few lines of script, and a public client library."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
from playwright.async_api import Page

from tests.web.guest import Meeting

CLIENT = Path(__file__).with_name("whep.js").read_text()
PATIENCE = 12.0


async def viewer_token(meeting: Meeting, identity: str = "viewer", **fields: object) -> str:
    body = {"room": meeting.room, "identity": identity, **fields}
    async with aiohttp.ClientSession() as http, http.post(f"{meeting.url}/api/dev/token", json=body) as answer:
        token: str = (await answer.json())["token"]
        return token


@asynccontextmanager
async def player(meeting: Meeting, path: str, **options: object) -> AsyncIterator[Page]:
    """A page that watches `/whep/{room}{path}`."""
    context = await meeting.browser.new_context()
    try:
        page = await context.new_page()
        await page.goto(f"{meeting.url}/healthz")
        await page.evaluate(CLIENT)
        created: dict[str, Any] = await page.evaluate(
            "(given) => whep.play(...given)",
            [f"{meeting.url}/whep/{meeting.room}{path}", await viewer_token(meeting), options],
        )
        assert created["status"] == 201, created
        yield page
    finally:
        await context.close()


async def watches(page: Page, frames: int = 10) -> dict[str, int]:
    """Waits for more frames and more sound; returns the size of the picture."""
    try:
        async with asyncio.timeout(PATIENCE):
            size: dict[str, int] = await page.evaluate("(frames) => whep.watches(frames)", frames)
            return size
    except TimeoutError:
        raise AssertionError(await page.evaluate("() => whep.state()")) from None


async def test_a_page_watches_a_participant(meeting: Meeting) -> None:
    ada = await meeting.join("Ada")
    identity = await ada.run("() => sfu.room.state.me.identity")
    async with player(meeting, f"/{identity}") as page:
        await watches(page)
