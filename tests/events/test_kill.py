"""SIGKILL between an event and its delivery: the real server, restarted, delivers it."""

import json
from pathlib import Path

import aiohttp

from tests.events.support import receiving
from tests.web.server import KEYS, serve, token


async def test_events_survive_sigkill(tmp_path: Path) -> None:
    async with receiving() as receiver:
        url = receiver.url
    port = int(url.rpartition(":")[2].partition("/")[0])
    settings = {
        "http.host": "localhost",
        "events.directory": tmp_path / "events",
        "events.webhooks.private": "true",
        "events.webhooks.endpoints": json.dumps([{"url": url}]),
    }
    headers = {"Authorization": f"Bearer {await token('', 'x', '--create', '--list')}"}
    async with serve(tmp_path / "log", settings, KEYS) as server, aiohttp.ClientSession(headers=headers) as http:
        for number in range(50):
            async with http.post(f"{server.url}/api/v1/rooms", json={"name": f"room-{number}"}) as answer:
                assert answer.status == 201
        stored = failed = 0
        while stored < 50 or not failed:
            async with http.get(f"{server.url}/api/v1/webhooks") as answer:
                (webhook,) = (await answer.json())["webhooks"]
                stored, failed = webhook["stored"], webhook["failed"]
        assert webhook["delivered"] == 0
        assert "no connection" in webhook["last_error"]
        server.process.kill()
        await server.process.wait()
    async with receiving(port) as receiver, serve(tmp_path / "log2", settings, KEYS):
        await receiver.wait(lambda: len(receiver.events) >= 50)
    assert {event.room.name for event in receiver.events} == {f"room-{number}" for number in range(50)}
    assert {event.event for event in receiver.events} == {"room_started"}
