"""Joins, resumes and periodic checks of sessions."""

import dataclasses
from typing import Any

import pytest

from sfu.auth.tokens import Claims
from sfu.errors import NotAuthorized
from sfu.rooms import Permissions
from sfu.signaling.messages import Join
from sfu.signaling.profile import profile_of
from sfu.signaling.session_state import CLOSE_SILENT
from sfu.signaling.sessions import PONG_GRACE
from sfu.signaling.settings import Settings
from tests.signaling.fakes import World, claims


@pytest.fixture
async def world() -> World:
    return World()


@pytest.mark.parametrize(
    ("token", "join", "name", "attributes"),
    [
        ({}, {}, "ada", {}),
        ({}, {"name": "Ada"}, "Ada", {}),
        ({"name": "Countess"}, {"name": "Ada"}, "Countess", {}),
        ({}, {"attributes": {"hand": "up"}}, "ada", {"hand": "up"}),
        ({"attributes": {"role": "host"}}, {"attributes": {"role": "x", "a": "b"}}, "ada", {"role": "host", "a": "b"}),
    ],
)
def test_the_token_precedes_the_join_message(
    token: dict[str, Any], join: dict[str, Any], name: str, attributes: dict[str, str]
) -> None:
    profile = profile_of(dataclasses.replace(claims("ada"), **token), Join(id=1, **join))
    assert (profile.identity, profile.name, profile.attributes) == ("ada", name, attributes)


def test_a_token_may_forbid_own_names_and_attributes() -> None:
    token = claims("ada", can_update_own_metadata=False)
    profile = profile_of(token, Join(id=1, name="Ada", attributes={"hand": "up"}))
    assert (profile.name, profile.attributes) == ("ada", {})


def test_permissions_and_options_of_a_join() -> None:
    profile = profile_of(claims("ada", room_admin=True, room_create=True), Join(id=1, auto_subscribe=False))
    assert profile.permissions == Permissions(admin=True)
    assert profile.may_create
    assert not profile.auto_subscribe


@pytest.mark.parametrize(
    "token",
    [claims("ada", room_join=False), claims(""), claims("ada", room="")],
    ids=["no join", "no identity", "no room"],
)
def test_tokens_that_open_no_room_are_refused(token: Claims) -> None:
    with pytest.raises(NotAuthorized):
        profile_of(token, Join(id=1))


async def test_an_unknown_resume_key_needs_a_token(world: World) -> None:
    client = world.client()
    assert client.say("join", id=1, resume="unknown")[0]["code"] == "resume_failed"
    client = world.client()
    joined = client.say("join", id=1, resume="unknown", token="ada")[0]
    assert (joined["type"], joined.get("resumed", False)) == ("joined", False)


async def test_a_draining_server_resumes_sessions_and_takes_no_new_ones(world: World) -> None:
    ada = world.join("ada")
    key = ada.socket.messages[0]["resume_key"]
    ada.drop()
    world.context.draining = True
    assert world.client().say("join", id=1, token="bob")[0]["code"] == "draining"
    assert world.client().say("join", id=1, resume=key, last=0)[0]["resumed"]


async def test_an_ended_session_is_not_found(world: World) -> None:
    ada = world.join("ada")
    session = ada.connection.session
    assert session is not None
    assert world.sessions.find(session.resume_key) is session
    ada.say("leave")
    assert world.sessions.find(session.resume_key) is None
    world.sessions.remove(session)
    assert len(world.sessions) == 0


async def test_sessions_may_end_while_they_are_iterated(world: World) -> None:
    for identity in ("ada", "bob", "eve"):
        world.join(identity)
    for session in world.sessions:
        session.leave("left")
    assert len(world.sessions) == 0


@pytest.mark.parametrize("heartbeat", [30.0, 2.0])
async def test_a_silent_socket_is_closed_after_two_heartbeats_and_a_grace(heartbeat: float) -> None:
    world = World(Settings(coalesce=0, heartbeat=heartbeat, resume_window=1000))
    ada = world.join("ada")
    grace = min(PONG_GRACE, heartbeat / 4)
    world.pass_time(heartbeat)
    world.pass_time(heartbeat)
    assert [message["type"] for message in ada.take()].count("ping") == 2
    world.pass_time(grace)
    assert ada.socket.close_code == 0
    world.pass_time(0.1)
    assert ada.socket.close_code == CLOSE_SILENT
    assert len(world.sessions) == 1, "the session can be resumed"


async def test_any_message_resets_the_silence(world: World) -> None:
    ada = world.join("ada")
    for _ in range(10):
        world.pass_time(world.context.settings.heartbeat)
        ada.say("pong", at=1.0)
    assert ada.socket.close_code == 0


@pytest.mark.parametrize(("end_with_token", "left"), [(True, 0), (False, 1)])
async def test_sessions_end_with_their_token_if_the_operator_wants_it(end_with_token: bool, left: int) -> None:
    world = World(Settings(coalesce=0, end_with_token=end_with_token))
    ada = world.join("ada")
    world.pass_time(1.0, wall=2e9 - 1)
    assert len(world.sessions) == 1
    world.pass_time(1.0, wall=2e9)
    assert len(world.sessions) == left
    assert bool(ada.take("leave")) is end_with_token
