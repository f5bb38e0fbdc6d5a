"""The state of a room as a participant sees it when it joins."""

from dataclasses import dataclass
from typing import Any

import pytest

from sfu.rooms.participant import Participant
from sfu.signaling.messages import IceServer, Joined
from sfu.signaling.settings import Settings
from sfu.signaling.snapshot import snapshot
from tests.rooms.fakes import House


@dataclass
class Keys:
    id: str = "SE_1"
    resume_key: str = "secret"


def joined(house: House, participant: Participant, **changes: Any) -> Joined:
    fields: dict[str, Any] = {"join_id": 3, "number": 7, "resumed": False} | changes
    settings = Settings(heartbeat=12.0, server="one")
    servers = [IceServer(urls=["turn:turn.example"])]
    return snapshot(Keys(), house.room, participant, settings, servers, **fields)


def test_hidden_participants_and_the_receiver_are_not_listed() -> None:
    house = House()
    ada = house.seat("ada")
    house.seat("bob")
    spy = house.seat("spy", hidden=True)
    assert [one.identity for one in joined(house, ada).participants] == ["bob"]
    seen = joined(house, spy)
    assert [one.identity for one in seen.participants] == ["ada", "bob"]
    assert seen.participant.identity == "spy"


@pytest.mark.parametrize(("admin", "waiting"), [(True, ["eve"]), (False, [])])
def test_only_admins_see_the_lobby(admin: bool, waiting: list[str]) -> None:
    house = House()
    ada = house.seat("ada", admin=admin)
    house.room.lobby_enabled = True
    house.wait("eve")
    assert [one.identity for one in joined(house, ada).waiting] == waiting


def test_private_messages_of_others_are_left_out() -> None:
    house = House()
    ada, bob, eve = house.seat("ada"), house.seat("bob"), house.seat("eve")
    house.room.messages.send_chat(ada, "to all")
    house.room.messages.send_chat(ada, "to bob", bob.id)
    house.room.messages.send_data(ada, "topic", "kept", keep=True)
    house.room.messages.send_data(ada, "topic", "not kept")
    assert [entry.text for entry in joined(house, bob).chat] == ["to all", "to bob"]
    assert [entry.text for entry in joined(house, eve).chat] == ["to all"]
    assert [entry.payload for entry in joined(house, eve).data] == ["kept"]


def test_keys_numbers_and_settings() -> None:
    house = House()
    message = joined(house, house.seat("ada"), resumed=True)
    assert (message.id, message.session, message.resume_key, message.n, message.resumed) == (
        3, "SE_1", "secret", 7, True,
    )  # fmt: skip
    assert (message.heartbeat, message.server) == (12.0, "one")
    assert [server.urls for server in message.ice_servers] == [["turn:turn.example"]]
    assert message.room.name == "den"
