"""SIGTERM to a real server with participants: messages to clients, admission, and the time of the exit."""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from tests.support.client import Client
from tests.web.server import KEYS, ServerProcess, serve, token


@asynccontextmanager
async def draining(
    tmp_path: Path, seconds: float
) -> AsyncIterator[tuple[ServerProcess, aiohttp.ClientSession, Client]]:
    """A draining server with Ada in the room `open`."""
    settings = {"http.host": "localhost", "rtc.include_loopback": "true", "signaling.resume_window": 0.5}
    settings |= {"node.drain_timeout": seconds}
    async with (
        serve(tmp_path / "log", settings, KEYS) as server,
        aiohttp.ClientSession() as http,
        joining(http, server, "open", "ada") as (ada, _),
    ):
        server.process.send_signal(signal.SIGTERM)
        yield server, http, ada


@asynccontextmanager
async def joining(
    http: aiohttp.ClientSession, server: ServerProcess, room: str, identity: str
) -> AsyncIterator[tuple[Client, dict[str, object]]]:
    """A client and the response to its join."""
    client = Client(http, server.url, await token(room, identity))
    try:
        yield client, await client.join()
    finally:
        await client.close()


async def test_meetings_continue_and_the_server_exits_after_the_last(tmp_path: Path) -> None:
    async with draining(tmp_path, 30) as (server, http, ada):
        assert 29 <= (await ada.event("draining"))["seconds"] <= 30
        async with http.get(f"{server.url}/readyz") as answer:
            assert (answer.status, await answer.text()) == (503, "draining\n")
        async with http.get(f"{server.url}/livez") as answer:
            assert answer.status == 200

        async with joining(http, server, "open", "bob") as (_, answered):
            assert answered["type"] == "joined"
        async with joining(http, server, "other", "eve") as (_, answered):
            assert (answered["type"], answered["code"]) == ("error", "draining")
        headers = {"Authorization": f"Bearer {await token('', 'x', '--create')}"}
        async with http.post(f"{server.url}/api/v1/rooms", json={"name": "third"}, headers=headers) as answer:
            assert (answer.status, (await answer.json())["code"]) == (503, "at_capacity")

        assert server.process.returncode is None
        await ada.close()  # her session can be resumed for 0.5 s
        assert await asyncio.wait_for(server.process.wait(), 10) == 0
        assert server.errors() == []


@pytest.mark.parametrize("how", ["deadline", "second signal"])
async def test_remaining_participants_are_asked_to_reconnect(tmp_path: Path, how: str) -> None:
    async with draining(tmp_path, 1.0 if how == "deadline" else 60.0) as (server, _, ada):
        await ada.event("draining")
        if how == "second signal":
            server.process.send_signal(signal.SIGTERM)
        leave = await ada.event("leave")
        assert (leave["reason"], leave["action"]) == ("draining", "reconnect")
        assert await asyncio.wait_for(server.process.wait(), 10) == 0
        assert server.errors() == []
