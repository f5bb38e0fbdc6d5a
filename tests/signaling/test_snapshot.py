"""The state of a room as a participant sees it when it joins."""

from dataclasses import dataclass
from typing import Any

import pytest

from sfu.rooms.participant import Participant
from sfu.signaling.messages import IceServer, Joined
from sfu.signaling.settings import Settings
from sfu.signaling.snapshot import snapshot
from tests.rooms.fakes import RoomsFixture


@dataclass
class Keys:
    id: str = "SE_1"
    resume_key: str = "secret"


def joined(fixture: RoomsFixture, participant: Participant, **changes: Any) -> Joined:
    fields: dict[str, Any] = {"join_id": 3, "number": 7, "resumed": False} | changes
    settings = Settings(heartbeat=12.0, server="one")
    servers = [IceServer(urls=["turn:turn.example"])]
    return snapshot(Keys(), fixture.room, participant, settings, servers, **fields)


def test_hidden_participants_and_the_receiver_are_not_listed() -> None:
    fixture = RoomsFixture()
    ada = fixture.join("ada")
    fixture.join("bob")
    spy = fixture.join("spy", hidden=True)
    assert [one.identity for one in joined(fixture, ada).participants] == ["bob"]
    seen = joined(fixture, spy)
    assert [one.identity for one in seen.participants] == ["ada", "bob"]
    assert seen.participant.identity == "spy"


@pytest.mark.parametrize(("admin", "waiting"), [(True, ["eve"]), (False, [])])
def test_only_admins_see_the_lobby(admin: bool, waiting: list[str]) -> None:
    fixture = RoomsFixture()
    ada = fixture.join("ada", admin=admin)
    fixture.room.lobby_enabled = True
    fixture.wait("eve")
    assert [one.identity for one in joined(fixture, ada).waiting] == waiting


def test_private_messages_of_others_are_left_out() -> None:
    fixture = RoomsFixture()
    ada, bob, eve = fixture.join("ada"), fixture.join("bob"), fixture.join("eve")
    fixture.room.messages.send_chat(ada, "to all")
    fixture.room.messages.send_chat(ada, "to bob", bob.id)
    fixture.room.messages.send_data(ada, "topic", "kept", keep=True)
    fixture.room.messages.send_data(ada, "topic", "not kept")
    assert [entry.text for entry in joined(fixture, bob).chat] == ["to all", "to bob"]
    assert [entry.text for entry in joined(fixture, eve).chat] == ["to all"]
    assert [entry.payload for entry in joined(fixture, eve).data] == ["kept"]


def test_keys_numbers_and_settings() -> None:
    fixture = RoomsFixture()
    message = joined(fixture, fixture.join("ada"), resumed=True)
    assert (message.id, message.session, message.resume_key, message.n, message.resumed) == (
        3, "SE_1", "secret", 7, True,
    )  # fmt: skip
    assert (message.heartbeat, message.server) == (12.0, "one")
    assert [server.urls for server in message.ice_servers] == [["turn:turn.example"]]
    assert message.room.name == "standup"
