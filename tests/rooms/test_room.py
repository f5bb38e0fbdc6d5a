"""Joins, leaves, locks and the lobby."""

from typing import Any

import pytest

from sfu.errors import AtCapacity, Conflict, RemoteError
from sfu.rooms.track_description import TrackDescription
from tests.rooms.fakes import FakeMedia, FakeSink, House, profile, sink_of
from tests.support.media_source import FakeSource


@pytest.fixture
def house() -> House:
    return House()


def test_those_inside_hear_of_newcomers_and_newcomers_do_not(house: House) -> None:
    ada = house.seat("ada")
    bob = house.seat("bob")
    assert sink_of(ada).take() == ["ParticipantJoined"]
    assert sink_of(bob).take() == []
    house.room.leave(bob)
    house.room.leave(bob)
    assert sink_of(ada).last.reason == "left"
    assert sink_of(ada).take() == ["ParticipantLeft"]


def test_a_broadcast_is_one_delivery_with_one_number(house: House) -> None:
    seats = [house.seat(name) for name in ("ada", "bob", "eve")]
    room = house.room
    room.messages.send_chat(seats[0], "hi")
    deliveries = [sink_of(seat).deliveries[-1] for seat in seats]
    assert deliveries[0] is deliveries[1] is deliveries[2]
    assert deliveries[0].number == room.members.number
    numbers = [delivery.number for delivery in sink_of(seats[0]).deliveries]
    assert numbers == sorted(set(numbers))


LOCKED = [
    ("a stranger", "eve", {}, "room_locked"),
    ("an admin", "root", {"admin": True}, ""),
    ("a recorder", "rec", {"hidden": True, "recorder": True}, ""),
    ("one inside already", "ada", {}, ""),
]


@pytest.mark.parametrize(("who", "identity", "permissions", "code"), LOCKED, ids=[row[0] for row in LOCKED])
def test_a_locked_room(house: House, who: str, identity: str, permissions: dict[str, Any], code: str) -> None:
    house.seat("ada")
    house.rooms.update("den", locked=True)
    if code:
        with pytest.raises(Conflict) as refused:
            house.seat(identity, **permissions)
        assert refused.value.code == code
    else:
        house.seat(identity, **permissions)


def test_a_full_room_takes_back_who_is_in_it() -> None:
    house = House(max_participants=2)
    house.seat("ada")
    bob = house.seat("bob")
    with pytest.raises(AtCapacity) as refused:
        house.seat("root", admin=True)
    assert refused.value.code == "room_full"
    house.seat("bob")
    assert sink_of(bob).removal == ("duplicate_identity", "You joined from somewhere else.")
    assert len(house.room.members) == 2


def test_who_leaves_takes_its_tracks_along(house: House) -> None:
    ada, bob = house.seat("ada"), house.seat("bob")
    media = FakeMedia()
    bob.subscriptions.attach_sink(media)
    publication = house.room.publications.publish(ada, FakeSource(), TrackDescription(source="camera"))
    sink_of(bob).take()
    house.room.leave(ada)
    assert media.calls[-1] == ("unsubscribe", publication.id)
    assert sink_of(bob).take() == ["ParticipantLeft"]
    assert len(house.room.publications) == 0
    assert ada.publications == {}


def test_closing_tells_everybody(house: House) -> None:
    ada = house.seat("ada", admin=True)
    house.rooms.update("den", lobby=True)
    waiting = house.wait("eve")
    house.rooms.delete("den")
    assert sink_of(ada).removal == ("room_closed", "The room was closed.")
    assert sink_of(waiting).removal == ("room_closed", "The room was closed.")
    assert len(house.rooms) == 0
    house.room.close()


def test_the_lobby(house: House) -> None:
    ada = house.seat("ada", admin=True)
    house.rooms.update("den", lobby=True)
    waiting = house.wait("eve")
    assert [one.id for one in sink_of(ada).last.waiting] == [waiting.id]
    # Waiting once more replaces the first.
    again = house.wait("eve")
    assert sink_of(waiting).removal is not None
    assert [one.id for one in house.room.lobby] == [again.id]
    house.room.moderation.admit(ada, again.id)
    inside = sink_of(again).participant
    assert inside is not None
    assert (inside.id, inside.identity) == (again.id, "eve")
    # Members pass the lock; only admins get the event of a participant that leaves the lobby.
    house.seat("eve")
    sink_of(ada).take()
    other = house.wait("zoe")
    house.room.leave_lobby(other)
    house.room.leave_lobby(other)
    assert sink_of(ada).take() == ["LobbyChanged", "LobbyChanged"]


def test_the_lobby_is_bounded_and_a_full_room_admits_nobody() -> None:
    house = House(max_waiting=1, max_participants=2)
    ada = house.seat("ada", admin=True)
    house.rooms.update("den", lobby=True)
    waiting = house.wait("eve")
    with pytest.raises(AtCapacity):
        house.wait("bob")
    house.seat("root", admin=True)
    house.room.moderation.admit(ada, waiting.id)
    assert sink_of(waiting).removal == ("room_full", "The room is full.")


@pytest.mark.parametrize(
    ("change", "outcome"),
    [({"lobby": False}, None), ({"locked": True}, ("room_locked", "The room was locked."))],
)
def test_changes_of_the_doors_settle_who_waits(house: House, change: dict[str, Any], outcome: object) -> None:
    house.seat("ada", admin=True)
    house.rooms.update("den", lobby=True)
    waiting = house.wait("eve")
    house.rooms.update("den", **change)
    assert sink_of(waiting).removal == outcome
    assert (sink_of(waiting).participant is not None) == (outcome is None)
    assert len(house.room.lobby) == 0


def test_a_refused_entry_leaves_no_trace(house: House) -> None:
    ada = house.seat("ada")
    house.rooms.update("den", locked=True)
    sink_of(ada).take()
    sink = FakeSink()
    with pytest.raises(RemoteError):
        house.rooms.join("den", profile("eve"), sink)
    assert sink.deliveries == []
    assert sink_of(ada).take() == []
