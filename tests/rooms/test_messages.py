"""Chat, data messages and their history."""

from typing import Any

import pytest

from sfu.errors import BadRequest, NotAuthorized, NotFound
from sfu.rooms.events import DataPacket
from tests.rooms.fakes import RoomsFixture, sink_of


@pytest.fixture
def fixture() -> RoomsFixture:
    return RoomsFixture()


def test_chat_is_kept_for_late_joiners(fixture: RoomsFixture) -> None:
    ada, bob = fixture.join("ada"), fixture.join("bob")
    talk = fixture.room.messages
    talk.send_chat(ada, "to all")
    talk.send_chat(ada, "to bob", bob.id)
    assert [entry.text for entry in talk.chat(ada)] == ["to all", "to bob"]
    assert [entry.text for entry in talk.chat(bob)] == ["to all", "to bob"]
    assert [entry.text for entry in talk.chat(fixture.join("eve"))] == ["to all"]
    assert [delivery.event.entry.text for delivery in sink_of(ada).deliveries[1:3]] == ["to all", "to bob"]  # type: ignore[union-attr]  # all of them are chat messages


def test_a_note_to_oneself_comes_once(fixture: RoomsFixture) -> None:
    ada = fixture.join("ada")
    fixture.room.messages.send_chat(ada, "note", ada.id)
    assert sink_of(ada).take() == ["ChatSent"]


@pytest.mark.parametrize(
    ("settings", "kept"),
    [
        ({"chat_entries": 2}, ["3", "4"]),
        ({"chat_bytes": 402}, ["3", "4"]),
        ({"chat_entries": 0}, []),
        ({"chat_bytes": 100}, []),
        ({}, ["0", "1", "2", "3", "4"]),
    ],
)
def test_history_is_bounded(settings: dict[str, Any], kept: list[str]) -> None:
    fixture = RoomsFixture(**settings)
    ada = fixture.join("ada")
    for number in range(5):
        fixture.room.messages.send_chat(ada, str(number))
    assert [entry.text for entry in fixture.room.messages.chat(ada)] == kept


def test_data(fixture: RoomsFixture) -> None:
    ada, bob, eve = fixture.join("ada"), fixture.join("bob"), fixture.join("eve")
    talk = fixture.room.messages
    for participant in (ada, bob, eve):
        sink_of(participant).take()
    talk.send_data(ada, "t", "all", keep=True)
    talk.send_data(ada, "t", "some", [bob.id, bob.id, "PA_gone"])
    talk.send_data(None, "t", "operator")
    assert sink_of(ada).take() == ["DataSent"]
    assert sink_of(bob).take() == ["DataSent"] * 3
    assert sink_of(eve).take() == ["DataSent"] * 2
    assert [entry.payload for entry in talk.data()] == ["all"]
    with pytest.raises(NotFound):
        talk.send_data(ada, "t", "p", ["PA_gone"])
    with pytest.raises(BadRequest):
        talk.send_data(ada, "t", "p", [bob.id], keep=True)


def test_without_permission_nothing_is_said(fixture: RoomsFixture) -> None:
    ada, bob = fixture.join("ada", data=False), fixture.join("bob")
    talk = fixture.room.messages
    with pytest.raises(NotAuthorized):
        talk.send_chat(ada, "hi")
    with pytest.raises(NotAuthorized):
        talk.send_data(ada, "", "hi")
    assert talk.relay_data(ada, DataPacket(ada.id, "", b"1"), reliable=True) is False
    packet = DataPacket(bob.id, "", b"1")
    assert talk.relay_data(bob, packet, reliable=True) is True
    assert (sink_of(ada).relayed, sink_of(bob).relayed) == ([packet], [])


def test_the_hidden_cannot_be_addressed(fixture: RoomsFixture) -> None:
    ada, spy = fixture.join("ada"), fixture.join("spy", hidden=True)
    with pytest.raises(NotFound):
        fixture.room.messages.send_chat(ada, "psst", spy.id)
