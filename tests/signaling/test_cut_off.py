"""A node that may not decide about its rooms: what its participants can still do."""

from dataclasses import replace
from typing import Any

import pytest

from sfu.cluster.ports import Unavailable
from tests.signaling.fakes import Client, World, offer_sdp
from tests.signaling.test_rebuild import Tickets, join, node, take_over


def cut_off(world: World) -> None:
    def check_home(room: str) -> None:
        assert room == "standup"
        raise Unavailable("cut off", code="cut_off")

    # As the server does: a join asks both.
    world.context.access = replace(world.context.access, admit=check_home, check_home=check_home)


def code(client: Client, kind: str, **fields: Any) -> str:
    replies = [message for message in client.say(kind, id=7, **fields) if message.get("id") == 7]
    (reply,) = replies
    return str(reply.get("code", reply["type"]))


@pytest.fixture
async def world() -> World:
    return World()


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        ("chat", {"text": "hi"}),
        ("data", {"topic": "t", "payload": "p", "keep": True}),
        ("room", {"locked": True}),
        ("egress", {"live": True}),
        ("kick", {"participant": "bob"}),
        ("admit", {"participant": "eve"}),
        ("deny", {"participant": "eve"}),
        ("mute", {"track": "bob's", "muted": True}),
    ],
)
async def test_decisions_are_refused(world: World, kind: str, fields: dict[str, Any]) -> None:
    ada, bob = world.join("ada"), world.join("bob")
    answer = bob.say("publish", id=5, sdp=offer_sdp("audio"), tracks=[{"mid": "0", "source": "microphone"}])
    (track,) = [message["tracks"]["0"] for message in answer if message["type"] == "answer"]
    room = world.rooms.find("standup")
    room.lobby_enabled = True
    eve = world.join("eve")
    waiting = next(iter(room.lobby))
    (other,) = [member for member in room.members if member.identity == "bob"]
    names = {"bob": other.id, "eve": waiting.id, "bob's": track}
    fields = {key: names.get(value, value) if isinstance(value, str) else value for key, value in fields.items()}
    for client in (ada, bob, eve):
        client.take()
    before = room.snapshot(0.0)
    cut_off(world)
    assert code(ada, kind, **fields) == "cut_off"
    assert room.snapshot(0.0) == before
    assert [waiting.id for waiting in room.lobby] == [names["eve"]]
    assert bob.take() == eve.take() == []
    world.context.access = replace(world.context.access, check_home=None)
    assert code(ada, kind, **fields) != "cut_off"


async def test_local_requests_go_on(world: World) -> None:
    ada, bob = world.join("ada"), world.join("bob")
    cut_off(world)
    answer = ada.say("publish", id=5, sdp=offer_sdp("audio"), tracks=[{"mid": "0", "source": "microphone"}])
    (track,) = [message["tracks"]["0"] for message in answer if message["type"] == "answer"]
    for muted in (True, False):
        assert code(ada, "mute", track=track, muted=muted) == "ok"
    assert code(ada, "metadata", name="Ada L.") == "ok"
    assert code(ada, "data", topic="t", payload="p") == "ok"
    assert code(bob, "subscribe", tracks=[{"track": track, "width": 0, "height": 0}]) == "ok"
    ada.say("leave")
    assert [member.identity for member in world.rooms.find("standup").members] == ["bob"]


async def test_no_one_joins_and_sessions_resume() -> None:
    tickets = Tickets()
    world = node(tickets)
    ada, joined = join(world, "ada")
    cut_off(world)
    newcomer = world.client()
    (error,) = newcomer.say("join", id=1, token="bob")
    assert (error["type"], error["code"]) == ("error", "cut_off")
    ada.drop()
    (again, *_) = world.client().say("join", id=1, resume=joined["resume_key"], last=joined["n"])
    assert again["resumed"] is True


async def test_a_participant_that_is_away_returns_to_a_home_only() -> None:
    tickets = Tickets()
    old = node(tickets)
    _, joined = join(old, "ada")
    other = take_over(old, tickets)
    cut_off(other)
    (error,) = other.client().say("join", id=1, resume=joined["resume_key"], last=0)
    assert error["code"] == "cut_off"
    other.context.access = replace(other.context.access, check_home=None)
    (again, *_) = other.client().say("join", id=1, resume=joined["resume_key"], last=0)
    assert again["rebuild"] is True
