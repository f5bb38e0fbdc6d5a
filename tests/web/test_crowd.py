"""A participant of a room of nearly fifty, each with microphone and camera, negotiates all tracks in time."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import aiohttp
import pytest
import pytest_asyncio

from tests.support.client import Client
from tests.web.guest import Meeting
from tests.web.server import KEYS, ServerProcess, serve, token

PEOPLE = 45
BY_BROWSER = 64 * 1024
"""Bytes of a message that the server takes."""


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ServerProcess]:
    async with serve(tmp_path_factory.mktemp("server") / "log", None, KEYS) as running:
        yield running


async def test_ninety_tracks_are_negotiated(meeting: Meeting, server: ServerProcess) -> None:
    ada = await meeting.invite("Ada")
    await ada.enter(meeting.address(server.url, token=await token(meeting.room, "ada")))
    await ada.track()
    tokens = [await token(meeting.room, f"person-{number}", "--no-subscribe") for number in range(PEOPLE)]
    async with aiohttp.ClientSession() as http, contextlib.AsyncExitStack() as leaving:
        people = [Client(http, server.url, each) for each in tokens]
        for person in people:
            leaving.push_async_callback(person.close)
        begin = asyncio.get_running_loop().time()
        for at in range(0, PEOPLE, 5):  # nearly at once, as when a lecture begins

            async def come(person: Client) -> None:
                await person.join()
                await person.publish()

            await asyncio.gather(*(come(person) for person in people[at : at + 5]))
        await ada.until("all tracks", f"() => sfu.room.subscriber.media.size === {2 * PEOPLE}", within=60)
        took = asyncio.get_running_loop().time() - begin
        longest = await ada.run("() => Math.max(...watched.sent)")
        print(f"{2 * PEOPLE} tracks after {took:.1f} s, longest message {longest} characters")
        assert longest < BY_BROWSER
    assert server.errors() == []
