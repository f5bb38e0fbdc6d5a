"""Server-sent events, attendance and webhook states over HTTP."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest

from sfu.api import events as api
from sfu.events.events import Events
from sfu.events.settings import Endpoint, Settings, Webhooks
from tests.api.support import KEY, Server, running, token

LIST = token(room_list=True)
ADMIN = token(room_admin=True, room="hall")


@asynccontextmanager
async def served(settings: Settings | None = None) -> AsyncIterator[tuple[Server, Events]]:
    events = Events(settings or Settings(), {"app": KEY})
    events.stream.open()
    try:
        async with running(events=events) as server:
            yield server, events
            events.stop_readers()
    finally:
        await events.close()


async def frames(response: aiohttp.ClientResponse, count: int) -> list[dict[str, str]]:
    """Events of a stream, without comments."""
    found: list[dict[str, str]] = []
    async with asyncio.timeout(20):
        while len(found) < count:
            block = (await response.content.readuntil(b"\n\n")).decode().strip()
            if not block.startswith(":"):
                found.append(dict(line.split(": ", 1) for line in block.splitlines()))
    return found


def follow(server: Server, query: str = "", last: str = "", credential: str = LIST) -> Any:
    headers = {"Authorization": f"Bearer {credential}"} | ({"Last-Event-ID": last} if last else {})
    return server.client.get(f"/api/v1/events{query}", headers=headers)


async def test_a_reader_follows_and_resumes() -> None:
    async with served() as (server, _):
        async with follow(server) as response:
            assert response.headers["Content-Type"] == "text/event-stream"
            server.join("hall", "ada")
            first, second = await frames(response, 2)
            assert [first["event"], second["event"]] == ["room_started", "participant_joined"]
            body = json.loads(second["data"])
            assert (body["id"], body["event"], body["participant"]["identity"]) == (
                second["id"],
                second["event"],
                "ada",
            )
        server.join("hall", "bob")
        async with follow(server, last=second["id"]) as response:
            (third,) = await frames(response, 1)
            assert json.loads(third["data"])["participant"]["identity"] == "bob"


async def test_a_reader_of_one_room_gets_its_events_only() -> None:
    async with served() as (server, _), follow(server, "?room=hall", credential=ADMIN) as response:
        server.join("other", "eve")
        server.join("hall", "ada")
        assert [json.loads(one["data"])["room"]["name"] for one in await frames(response, 2)] == ["hall", "hall"]


@pytest.mark.parametrize(
    ("query", "credential", "status"),
    [("", ADMIN, 404), ("?room=other", ADMIN, 404), ("", token(room_join=True, room="hall"), 403), ("", "", 401)],
)
async def test_a_token_opens_its_room_only(query: str, credential: str, status: int) -> None:
    async with served() as (server, _), follow(server, query, credential=credential) as response:
        assert response.status == status


async def test_an_unknown_id_gets_what_is_kept_with_a_notice() -> None:
    async with served(Settings(recent=2)) as (server, events):
        for name in ("a", "b", "c"):
            server.rooms.create(name)
        events.stream.flush()
        async with follow(server, last="EV_other_1") as response:
            assert await response.content.readuntil(b"\n\n") == b": events may be missing\n\n"
            assert [json.loads(one["data"])["room"]["name"] for one in await frames(response, 2)] == ["b", "c"]


async def test_a_page_of_another_origin_reads_if_it_is_allowed() -> None:
    async with served() as (server, _):
        headers = {"Authorization": f"Bearer {LIST}"}
        own = {**headers, "Origin": f"http://127.0.0.1:{server.port}"}
        async with server.client.get("/api/v1/events", headers=own) as response:
            assert response.headers["Access-Control-Allow-Origin"] == own["Origin"]
        async with server.client.get(
            "/api/v1/events", headers={**headers, "Origin": "https://evil.example"}
        ) as response:
            assert response.status == 403


async def test_heartbeats(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "HEARTBEAT_INTERVAL", 0.01)
    async with served() as (server, _), follow(server) as response:
        assert await response.content.readuntil(b"\n\n") == b": connected\n\n"
        assert await response.content.readuntil(b"\n\n") == b":\n\n"


async def test_readers_are_bounded_and_a_slow_one_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "WRITE_TIMEOUT", 0.2)
    settings = Settings(max_readers=1, recent=5_000, recent_bytes=2**28)
    async with served(settings) as (server, events), follow(server) as response:
        await response.content.readuntil(b"\n\n")
        async with follow(server) as refused:
            assert refused.status == 503
        room = server.rooms.create("hall", metadata="m" * 50_000)
        async with asyncio.timeout(20):
            while not events.readers_dropped:
                room.moderation.update(None, locked=not room.locked)
                await asyncio.sleep(0)
        assert events.readers == 0


async def test_attendance_as_json_and_csv() -> None:
    async with served() as (server, events):
        ada, _ = server.join("hall", "ada")
        server.join("hall", "bob")
        server.rooms.find("hall").leave(ada)
        events.stream.flush()
        path = "/api/v1/rooms/hall/attendance"
        status, body = await server.ask("GET", path, token=ADMIN)
        assert (status, body["room"]) == (200, "hall")
        ((first, second),) = [meeting["stays"] for meeting in body["meetings"]]
        assert {first["identity"], second["identity"]} == {"ada", "bob"}
        status, headers, text = await server.exchange("GET", f"{path}?format=csv", token=ADMIN)
        assert (status, headers["Content-Type"]) == (200, "text/csv; charset=utf-8")
        assert text.splitlines()[0].startswith("room,room_id,identity,name,")
        assert len(text.splitlines()) == 3
        assert (await server.ask("GET", f"{path}?format=xml", token=ADMIN))[0] == 400
        assert (await server.ask("GET", path, token=LIST))[0] == 403
        assert (await server.ask("GET", "/api/v1/rooms/none/attendance", token=token(room_admin=True, room="none")))[
            0
        ] == 404


async def test_webhook_states_hide_the_query() -> None:
    settings = Settings(webhooks=Webhooks(endpoints=(Endpoint(url="https://a.example/hook?token=secret"),)))
    async with served(settings) as (server, _):
        status, body = await server.ask("GET", "/api/v1/webhooks", token=LIST)
        assert status == 200
        (webhook,) = body["webhooks"]
        assert (webhook["url"], webhook["queued"], webhook["failing"]) == ("https://a.example/hook", 0, False)
        assert (await server.ask("GET", "/api/v1/webhooks", token=ADMIN))[0] == 403
