"""A connection without a network: joins, requests, errors and rate limits."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sfu.cluster.ports import Unavailable
from sfu.signaling.session_state import State
from sfu.signaling.settings import Settings
from tests.signaling.fakes import World, claims
from tests.signaling.test_session import publish


@pytest.fixture
async def world() -> World:
    return World()


def types(messages: list[dict[str, Any]]) -> list[str]:
    return [message["type"] for message in messages]


def error_of(messages: list[dict[str, Any]]) -> tuple[int, str]:
    [error] = [message for message in messages if message["type"] == "error"]
    return error.get("id", -1), error["code"]


async def test_joined_is_the_whole_state(world: World) -> None:
    ada = world.join("ada", name="Ada", attributes={"hand": "up"})
    [joined, *_] = ada.take()
    assert joined["type"] == "joined"
    assert joined["id"] == 1
    assert joined["participant"]["name"] == "Ada"
    assert joined["participant"]["attributes"] == {"hand": "up"}
    assert joined["permissions"]["admin"] is True
    assert joined["participants"] == []
    ada.say("chat", id=2, text="hello")
    ada.say("data", id=3, topic="board", payload="x", keep=True)
    [joined] = world.join("bob").take()
    assert [one["identity"] for one in joined["participants"]] == ["ada"]
    assert [one["text"] for one in joined["chat"]] == ["hello"]
    assert [one["payload"] for one in joined["data"]] == ["x"]
    assert types(ada.take()) == ["participant_joined"]


async def test_the_token_may_come_as_subprotocol(world: World) -> None:
    client = world.client("ada")
    assert types(client.say("join", id=1)) == ["joined"]


async def test_a_join_that_cannot_be_placed_is_refused_with_its_id(world: World) -> None:
    client = world.client()
    client.connection.refuse(json.dumps({"type": "join", "id": 9, "token": "ada"}), Unavailable("no directory"))
    assert error_of(client.take()) == (9, "directory_unavailable")
    assert client.socket.close_code


@pytest.mark.parametrize(
    ("token", "fields", "code"),
    [
        ("", {}, "token_missing"),
        ("bad", {}, "token_missing"),
        ("no-join", {}, "not_authorized"),
        ("no-room", {}, "not_authorized"),
        ("ada", {"protocol": 7}, "unsupported_protocol"),
        ("", {"resume": "gone"}, "resume_failed"),
    ],
)
async def test_refused_joins(world: World, token: str, fields: dict[str, Any], code: str) -> None:
    world.tokens = {"no-join": claims("x", room_join=False), "no-room": claims("x", room="")}
    client = world.client()
    assert error_of(client.say("join", id=4, token=token, **fields)) == (4, code)
    assert client.socket.close_code == 1008
    assert not world.sessions


async def test_something_else_first(world: World) -> None:
    client = world.client()
    assert error_of(client.say("chat", id=9, text="hi")) == (9, "join_first")
    assert client.socket.close_code == 1008


async def test_a_draining_server_refuses(world: World) -> None:
    world.context.draining = True
    assert error_of(world.join("ada").take()) == (1, "draining")


async def test_joining_twice_is_a_conflict(world: World) -> None:
    ada = world.join("ada")
    assert error_of(ada.say("join", id=2, token="ada")) == (2, "conflict")


@pytest.mark.parametrize(
    ("text", "identifier"),
    [
        ("", -1),
        ("[]", -1),
        ("7", -1),
        ("{", -1),
        ('{"type": "nonsense", "id": 5}', 5),
        ('{"type": "chat", "id": 5}', 5),
        ('{"type": "chat", "id": "x", "text": "a"}', -1),
        ('{"type": "chat", "id": 6, "text": 7}', 6),
        ('{"type": "chat", "id": 6, "text": "' + "x" * 5000 + '"}', 6),
        ('{"type": "\\ud800", "id": 1}', 1),
        ("[" * 50_000, -1),
        ('{"type":"pong","x":' + "[" * 30_000 + "]" * 30_000 + "}", -1),
    ],
)
async def test_garbage_is_answered(world: World, text: str, identifier: int) -> None:
    ada = world.join("ada")
    got, code = error_of(ada.say_text(text))
    assert code == "bad_request"
    assert got in (identifier, -1)
    assert ada.socket.close_code == 0
    assert types(ada.say("chat", id=7, text="still here")) == ["chat_message", "ok"]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
TYPES = st.sampled_from(
    [
        "join",
        "publish",
        "unpublish",
        "mute",
        "answer",
        "candidate",
        "restart",
        "subscribe",
        "unsubscribe",
        "chat",
        "data",
        "metadata",
        "room",
        "kick",
        "admit",
        "deny",
        "pong",
        "nonsense",
    ]
)
FIELDS = st.sampled_from(
    [
        "id",
        "sdp",
        "tracks",
        "track",
        "muted",
        "text",
        "to",
        "topic",
        "payload",
        "keep",
        "name",
        "metadata",
        "attributes",
        "locked",
        "lobby",
        "participant",
    ]
)
MESSAGES = st.builds(
    lambda type_, id_, rest: json.dumps({**rest, "id": id_, "type": type_}),
    TYPES,
    st.integers(0, 100) | JSON,
    st.dictionaries(FIELDS, JSON | st.just([{"track": "TR_1"}]) | st.just("TR_1"), max_size=4),
)


@settings(max_examples=400, deadline=None)
@given(
    st.lists(st.text(max_size=200) | MESSAGES | st.binary(max_size=60).map(lambda b: b.decode("latin1")), max_size=6)
)
async def test_nothing_but_messages_comes_of_any_text(texts: list[str]) -> None:
    world = World(Settings(coalesce=0, message_rate=1e6, message_burst=1_000_000))
    ada = world.join("ada")
    world.join("bob")
    for text in texts:
        for message in ada.say_text(text):
            assert message.get("code") != "internal"
    stranger = world.client()
    for text in texts[:1]:
        for message in stranger.say_text(text):
            assert message.get("code") != "internal"


async def test_too_many_messages(world: World) -> None:
    ada = world.join("ada")
    replies = [ada.say("chat", id=n, text="x") for n in range(150)]
    refused = [error_of(reply) for reply in replies if types(reply) == ["error"]]
    assert 45 <= len(refused) <= 55
    assert refused[-1] == (149, "rate_limited")
    (error,) = ada.say("chat", id=150, text="x")
    assert 0 < error["retry_after"] < 0.1
    world.now += error["retry_after"]
    assert types(ada.say("chat", id=150, text="x")) == ["chat_message", "ok"]
    world.now += 1
    assert types(ada.say("chat", id=200, text="x")) == ["chat_message", "ok"]


async def test_large_messages_count_for_more(world: World) -> None:
    ada = world.join("ada")
    replies = [ada.say("data", id=n, payload="x" * 30_000) for n in range(10)]
    assert sum(types(reply) == ["ok"] for reply in replies) == 6


async def test_a_flooding_client_is_disconnected(world: World) -> None:
    ada, bob = world.join("ada"), world.join("bob")
    for n in range(700):
        ada.connection.receive(json.dumps({"type": "chat", "id": n, "text": "x"}))
    assert ada.take()[-1]["reason"] == "protocol_error"
    assert ada.socket.close_code == 1008
    assert bob.take("participant_left")[0]["reason"] == "protocol_error"


async def test_a_bug_in_a_request_is_one_error(
    world: World, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada = world.join("ada")

    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("sfu.rooms.messages.Messages.send_chat", broken)
    assert error_of(ada.say("chat", id=3, text="my secret text")) == (3, "internal")
    assert "my secret text" not in caplog.text
    assert types(ada.say("mute", id=4, track="TR_x", muted=True)) == ["error"]


async def test_leaving(world: World) -> None:
    ada, bob = world.join("ada"), world.join("bob")
    bob.take()
    leaver = ada.id
    ada.say("leave", reason="bye")
    assert ada.socket.close_code == 1000
    assert bob.take() == [{"type": "participant_left", "n": 3, "participant": leaver, "reason": "left"}]
    ada.connection.receive('{"type": "chat", "id": 5, "text": "a ghost"}')
    assert bob.take() == []
    assert all(one.closed for one in world.endpoint.subscribers[:1])


async def test_an_answer_of_any_length_is_one_message(world: World) -> None:
    """In a large room all clients answer many long offers at once. Unsolicited answers count by their length."""
    ada, bob = world.join("ada"), world.join("bob")
    publish(ada)
    for number in range(90):
        bob.say("chat", id=number, text="x")
    long = "v=0" + " " * 60_000
    assert bob.say("answer", id=2, sdp=long) == []
    assert [message["code"] for message in bob.say("answer", id=2, sdp=long)] == ["rate_limited"]
    assert types(bob.say("chat", id=200, text="x")) == ["chat_message", "ok"]


async def test_messages_that_take_more_loop_time_than_a_share_are_delayed_then_end_the_session(world: World) -> None:
    cpu = 0.0
    world.context.cpu = lambda: cpu
    ada, bob = world.join("ada"), world.join("bob")
    world.context.cpu = costing = Costing(0.02)
    for _ in range(4):
        assert ada.connection.receive('{"type": "raise_hand"}') == 0.0
    pauses: list[float] = []
    session = ada.connection.session
    assert session is not None
    while session.state is State.JOINED and len(pauses) < 100:
        pauses.append(ada.connection.receive('{"type": "raise_hand"}'))
        world.now += 0.4
        world.sessions.check(world.now, 0.0)
    assert 5 < len(pauses) < 20
    assert all(pause > 0.1 for pause in pauses[2:-1])
    [leave] = ada.take("leave")
    assert leave["message"] == "This connection takes too much of the server's time."
    assert leave.get("action", "disconnect") == "disconnect"
    assert world.context.counters.overloads == 1
    costing.cost = 0.0001
    assert types(bob.take("participant_left")) == ["participant_left"]
    assert bob.connection.receive('{"type": "raise_hand"}') == 0.0


async def test_answers_to_our_offers_wait_but_do_not_end_the_session(world: World) -> None:
    ada = world.join("ada")
    subscriber = world.endpoint.subscriber(ada.id)
    world.context.cpu = Costing(0.03)
    session = ada.connection.session
    assert session is not None
    for number in range(1, 40):
        subscriber.listener.offer_made(number, "v=0", {})
        [offer] = ada.take("offer")
        pause = ada.connection.receive(json.dumps({"type": "answer", "id": offer["id"], "sdp": "v=0"}))
        world.now += 0.3
        world.sessions.check(world.now, 0.0)
    assert pause > 0
    assert session.state is State.JOINED


class Costing:
    """A clock of CPU time by which everything that lies between two readings takes `cost` seconds."""

    def __init__(self, cost: float) -> None:
        self.cost = cost
        self._now = 0.0

    def __call__(self) -> float:
        self._now += self.cost
        return self._now
