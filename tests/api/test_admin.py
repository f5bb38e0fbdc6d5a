"""The admin API over HTTP: effects of each operation, and required grants."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from sfu.auth.turn_health import TurnState, TurnStatus
from sfu.forwarding.decision_log import Cause, DecisionEntry, DecisionKind
from sfu.ids import TrackId
from sfu.rooms.events import DataSent
from sfu.rooms.media_stats import ClientReport, DownlinkStats, MediaStats, VideoStats
from tests.api.support import Server, running, token

ADMIN = token(room="demo", room_admin=True)
LISTER = token(room_list=True)
CREATOR = token(room_create=True)
NO_SUCH_ROOM = {"code": "not_found", "message": "There is no such room, or this token does not open it."}


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async with running() as started:
        yield started


async def test_rooms(server: Server) -> None:
    assert await server.ask("GET", "/api/v1/rooms", token=LISTER) == (200, {"rooms": []})
    body = {"name": "demo", "metadata": "m", "lobby": True, "idle_timeout": 5, "last_n": 4, "loudest": 3}
    status, room = await server.ask("POST", "/api/v1/rooms", token=CREATOR, json=body)
    assert status == 201
    assert room == {
        "name": "demo",
        "id": "RM_1",
        "metadata": "m",
        "locked": False,
        "lobby": True,
        "created_at": 1000.0,
        "participants": 0,
        "waiting": 0,
        "tracks": 0,
    }
    assert await server.ask("GET", "/api/v1/rooms", token=LISTER) == (200, {"rooms": [room]})
    for opener in (ADMIN, LISTER):
        assert await server.ask("GET", "/api/v1/rooms/demo", token=opener) == (200, room)
    status, problem = await server.ask("POST", "/api/v1/rooms", token=CREATOR, json={"name": "demo"})
    assert (status, problem["code"]) == (409, "conflict")
    changes = {"locked": True, "lobby": False}
    changed = await server.ask("PATCH", "/api/v1/rooms/demo", token=ADMIN, json=changes)
    assert changed == (200, room | changes)
    assert (await server.ask("DELETE", "/api/v1/rooms/demo", token=ADMIN))[0] == 204
    assert await server.ask("GET", "/api/v1/rooms/demo", token=ADMIN) == (404, NO_SUCH_ROOM)


async def test_room_limit(server: Server) -> None:
    for name in ("a", "b", "c"):
        assert (await server.ask("POST", "/api/v1/rooms", token=CREATOR, json={"name": name}))[0] == 201
    status, problem = await server.ask("POST", "/api/v1/rooms", token=CREATOR, json={"name": "d"})
    assert (status, problem["code"]) == (503, "at_capacity")
    assert (await server.ask("DELETE", "/api/v1/rooms/a", token=CREATOR))[0] == 204


NO_EGRESS = {"record": False, "egress": False}


async def test_participants(server: Server) -> None:
    ada, _ = server.join("demo", "ada", admin=True)
    server.join("demo", "recorder", hidden=True, recorder=True)
    media = server.publish(ada)
    status, answer = await server.ask("GET", "/api/v1/rooms/demo/participants", token=ADMIN)
    assert status == 200
    assert [each["identity"] for each in answer["participants"]] == ["ada", "recorder"]
    (track,) = answer["participants"][0]["tracks"]
    assert track == {"id": next(iter(ada.publications)), "kind": "audio", "source": "microphone", "codec": "opus"}

    path = "/api/v1/rooms/demo/participants/ada"
    status, one = await server.ask("GET", path, token=ADMIN)
    assert (status, one) == (200, answer["participants"][0] | {"connection": None})
    assert (
        one["permissions"]
        == {"publish": True, "subscribe": True, "data": True, "admin": True, "sources": []} | NO_EGRESS
    )

    assert (await server.ask("POST", f"{path}/tracks/{track['id']}/mute", token=ADMIN, json={}))[0] == 204
    assert media.muted
    status, problem = await server.ask("POST", f"{path}/tracks/{track['id']}/mute", token=ADMIN, json={"muted": False})
    assert (status, problem["code"]) == (400, "bad_request")
    assert (await server.ask("POST", f"{path}/tracks/TR_x/mute", token=ADMIN, json={}))[0] == 404

    body = {
        "name": "Lady Ada",
        "metadata": "m",
        "attributes": {"a": "b"},
        "permissions": {"publish": False, "sources": ["camera"]},
    }
    status, changed = await server.ask("PATCH", path, token=ADMIN, json=body)
    assert status == 200
    assert (changed["name"], changed["metadata"], changed["attributes"]) == ("Lady Ada", "m", {"a": "b"})
    assert changed["permissions"] == one["permissions"] | {"publish": False, "sources": ["camera"]}
    assert changed["tracks"] == []


async def test_kick_revokes_tokens(server: Server) -> None:
    _, far_end = server.join("demo", "eve")
    mine = token(room="demo", room_join=True, room_admin=True, identity="eve")
    path = "/api/v1/rooms/demo/participants/eve"
    assert (await server.ask("GET", path, token=mine))[0] == 200
    assert (await server.ask("DELETE", path, params={"reason": "enough"}, token=ADMIN))[0] == 204
    assert far_end.removals == [("kicked", "You were removed from the room: enough")]
    status, problem = await server.ask("GET", path, token=mine)
    assert (status, problem["code"]) == (401, "token_revoked")
    newer = token(room="demo", room_admin=True, identity="eve", later=5.0)
    assert (await server.ask("GET", path, token=newer))[0] == 404


async def test_data(server: Server) -> None:
    ada, ada_end = server.join("demo", "ada")
    _, bob_end = server.join("demo", "bob")
    ada_end.events.clear()
    path = "/api/v1/rooms/demo/data"
    body = {"payload": "hi", "topic": "t", "to": ["ada"]}
    assert (await server.ask("POST", path, token=ADMIN, json=body))[0] == 204
    (event,) = ada_end.events
    assert isinstance(event, DataSent)
    assert (event.entry.payload, event.entry.topic, event.entry.participant) == ("hi", "t", "")
    assert bob_end.events == []
    assert (await server.ask("POST", path, token=ADMIN, json={"payload": "x", "to": ["eve"]}))[0] == 404
    assert ada.room == "demo"


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/api/v1/rooms/{room}", None),
        ("PATCH", "/api/v1/rooms/{room}", {"locked": True}),
        ("DELETE", "/api/v1/rooms/{room}", None),
        ("GET", "/api/v1/rooms/{room}/participants", None),
        ("GET", "/api/v1/rooms/{room}/participants/ada", None),
        ("PATCH", "/api/v1/rooms/{room}/participants/ada", {"name": "x"}),
        ("DELETE", "/api/v1/rooms/{room}/participants/ada", None),
        ("POST", "/api/v1/rooms/{room}/participants/ada/tracks/T/mute", {}),
        ("POST", "/api/v1/rooms/{room}/data", {"payload": "x"}),
    ],
)
async def test_inaccessible_and_missing_rooms_get_the_same_response(
    server: Server, method: str, path: str, body: dict[str, Any] | None
) -> None:
    server.join("foreign", "ada")
    for room in ("foreign", "absent", "x" * 200, "a%2Fb"):
        assert await server.ask(method, path.format(room=room), token=ADMIN, json=body) == (404, NO_SUCH_ROOM)
        status, problem = await server.ask(
            method, path.format(room=room), token=token(room=room, room_join=True, identity="i"), json=body
        )
        assert (status, problem["code"]) == (403, "not_authorized")
    assert await server.ask(method, path.format(room="demo"), token=ADMIN, json=body) == (404, NO_SUCH_ROOM)


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({}, 401, "token_missing"),
        ({"Authorization": "Basic YTpi"}, 401, "token_missing"),
        ({"Authorization": "Bearer"}, 401, "token_missing"),
        ({"Authorization": "Bearer x"}, 401, "token_malformed"),
        ({"Authorization": f"Bearer {token(room_list=True, lifetime=-20)}"}, 401, "token_expired"),
        ({"Authorization": f"Bearer {LISTER[:-8]}AAAAAAAA"}, 401, "token_invalid"),
        ({"Authorization": f"Bearer {ADMIN}"}, 403, "not_authorized"),
        ({"Authorization": f"Bearer {CREATOR}"}, 403, "not_authorized"),
    ],
)
async def test_list_requires_grant(server: Server, headers: dict[str, str], status: int, code: str) -> None:
    got, answered, problem = await server.exchange("GET", "/api/v1/rooms", headers=headers)
    assert (got, problem["code"]) == (status, code)
    assert ("WWW-Authenticate" in answered) is (status == 401)


async def test_create_token_for_a_room_creates_only_that_room(server: Server) -> None:
    bound = token(room="mine", room_create=True)
    assert (await server.ask("POST", "/api/v1/rooms", token=bound, json={"name": "other"}))[0] == 403
    assert (await server.ask("POST", "/api/v1/rooms", token=bound, json={"name": "mine"}))[0] == 201
    assert (await server.ask("DELETE", "/api/v1/rooms/mine", token=bound))[0] == 403


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        (b"", 400, "missing required field name"),
        (b"{", 400, "truncated"),
        (b"[1]", 400, "Expected object"),
        (b"\xff", 400, "The body is invalid"),
        (b"[" * 20_000, 400, "The body is invalid"),
        (b'{"name": ""}', 400, "length >= 1"),
        (b'{"name": "x", "nmae": "y"}', 400, "unknown field nmae"),
        (b'{"name": "x", "idle_timeout": 1e99}', 400, "<="),
        (b'{"name": "x", "last_n": -1}', 400, ">="),
        (b'{"name": "x", "loudest": 1e99}', 400, "loudest"),
        (b'{"name": "' + b"x" * 70_000 + b'"}', 413, "Too Large"),
    ],
)
async def test_bad_bodies(server: Server, body: bytes, status: int, words: str) -> None:
    headers = {"Content-Type": "application/json"}
    got, problem = await server.ask("POST", "/api/v1/rooms", token=CREATOR, data=body, headers=headers)
    assert got == status
    assert words in problem["message"]


async def test_bodies_must_be_json(server: Server) -> None:
    status, problem = await server.ask("POST", "/api/v1/rooms", token=CREATOR, data={"name": "x"})
    assert (status, problem["code"]) == (415, "unsupported_media")


async def test_body_timeout(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sfu.api.application.BODY_TIMEOUT", 0.05)
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(
        f"POST /api/v1/rooms HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {CREATOR}\r\n"
        "Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{".encode()
    )
    assert b" 408 " in await reader.readline()
    writer.close()
    await writer.wait_closed()


ACCOUNT = MediaStats(
    DownlinkStats(610e3, 0.048, 0.013, 480, Cause.ESTIMATE),
    (VideoStats(TrackId("TR_cam"), False, Cause.BUDGET, "h", 640, 360, 720, "cpu"),),
    ClientReport(495.0, 0.05, 0.006, 0.01, 1, 0.7, 0.002, {TrackId("TR_own"): "bandwidth"}),
    (DecisionEntry(8, 490.0, DecisionKind.LAYER_DOWN, Cause.BUDGET, "TR_cam", 720, 360, 610e3),),
    500.0,
)


async def test_connection_diagnostics_of_a_participant(server: Server) -> None:
    _, far_end = server.join("demo", "ann")
    status, shown = await server.ask("GET", "/api/v1/rooms/demo/participants/ann", token=ADMIN)
    assert (status, shown["connection"]) == (200, None)
    far_end.its_account = ACCOUNT
    _, shown = await server.ask("GET", "/api/v1/rooms/demo/participants/ann", token=ADMIN)
    [event] = shown["connection"].pop("events")
    assert time.time() - event.pop("at") == pytest.approx(10, abs=1)
    assert event == {
        "number": 8, "kind": "layer_down", "cause": "budget", "track": "TR_cam", "before": 720, "after": 360,
        "rate": 610_000,
    }  # fmt: skip
    assert shown["connection"] == {
        "path": {"estimate": 610e3, "rtt": 0.048, "loss": 0.013, "height": 480, "rule": "estimate", "transport": "udp"},
        "video_stats": [
            {"track": "TR_cam", "cause": "budget", "layer": "h", "width": 640, "height": 360, "max_height": 720,
             "limitation": "cpu"}
        ],
        "report": {"age": 5, "rtt": 0.05, "jitter": 0.006, "loss": 0.01, "freezes": 1, "frozen": 0.7,
                   "concealed": 0.002, "limited": {"TR_own": "bandwidth"}},
    }  # fmt: skip


async def test_turn_servers() -> None:
    statuses = (
        TurnStatus("turn:a", TurnState.HEALTHY, 0.02, 0.0, "", time.monotonic(), 40, 0),
        TurnStatus("turn:b", TurnState.FAILED, None, 1 / 3, "no answer", time.monotonic() - 60, 4, 4),
    )
    async with running(turn_servers=statuses) as server:
        status, shown = await server.ask("GET", "/api/v1/turn", token=LISTER)
        assert status == 200
        healthy, failed = shown["servers"]
        assert (healthy["url"], healthy["state"], healthy["latency"]) == ("turn:a", "healthy", 0.02)
        assert failed["since"] == pytest.approx(60, abs=30)
        assert (failed["state"], failed["latency"], failed["loss"]) == ("failed", None, 0.333)
        status, _ = await server.ask("GET", "/api/v1/turn", token=ADMIN)
        assert status == 403


async def test_a_server_without_a_cluster_has_no_nodes(server: Server) -> None:
    server.join("hall", "ada")
    operator = token(room_create=True, room_list=True)
    for method, path in (("GET", "nodes"), ("GET", "nodes/x"), ("POST", "nodes/x/drain"), ("POST", "rooms/hall/move")):
        status, problem = await server.ask(method, f"/api/v1/{path}", token=operator, json={})
        assert (status, problem["code"]) == (409, "no_cluster")
        if method == "POST":
            assert (await server.ask(method, f"/api/v1/{path}", token=CREATOR, json={}))[0] == 403
