"""Encoders that publish over WHIP into a meeting: Chromium with a few lines of script, and public client libraries."""

from pathlib import Path
from typing import Any

import aiohttp

from tests.web.guest import Guest, Meeting

CLIENT = Path(__file__).with_name("whip.js").read_text()


async def encoder_token(meeting: Meeting, identity: str = "obs", **fields: object) -> str:
    async with (
        aiohttp.ClientSession() as http,
        http.post(
            f"{meeting.url}/api/dev/token", json={"room": meeting.room, "identity": identity, **fields}
        ) as answer,
    ):
        token: str = (await answer.json())["token"]
        return token


async def published(viewer: Guest, identity: str, source: str, *, within: float = 15.0) -> str:
    """Id of the track that a participant publishes, as the viewer's page sees it."""
    found: str = await viewer.until(
        f"the {source} of {identity}",
        """([identity, source]) => {
            for (const one of sfu.room.state.participants.values())
                if (one.identity === identity) return one.tracks.find((track) => track.source === source)?.id;
        }""",
        [identity, source],
        within=within,
    )
    return found


async def test_a_page_publishes_over_whip(meeting: Meeting) -> None:
    viewer = await meeting.join("Ada")
    encoder = await meeting.browser.new_page()
    await encoder.goto(f"{meeting.url}/healthz")
    await encoder.evaluate(CLIENT)

    created: dict[str, Any] = await encoder.evaluate(
        "(given) => whip.publish(...given)",
        [f"{meeting.url}/whip/{meeting.room}", await encoder_token(meeting, name="Studio")],
    )

    assert created["status"] == 201, created
    await viewer.sees(await published(viewer, "obs", "camera"))
    await viewer.hears(await published(viewer, "obs", "microphone"))
