"""Joins, leaves, locks and the lobby."""

from typing import Any

import pytest

from sfu.errors import AtCapacity, Conflict, RemoteError
from sfu.rooms.track_description import TrackDescription
from tests.rooms.fakes import FakeMedia, FakeSink, RoomsFixture, profile, sink_of
from tests.support.media_source import FakeSource


@pytest.fixture
def fixture() -> RoomsFixture:
    return RoomsFixture()


def test_those_inside_hear_of_newcomers_and_newcomers_do_not(fixture: RoomsFixture) -> None:
    ada = fixture.join("ada")
    bob = fixture.join("bob")
    assert sink_of(ada).take() == ["ParticipantJoined"]
    assert sink_of(bob).take() == []
    fixture.room.leave(bob)
    fixture.room.leave(bob)
    assert sink_of(ada).last.reason == "left"
    assert sink_of(ada).take() == ["ParticipantLeft"]


def test_a_broadcast_is_one_delivery_with_one_number(fixture: RoomsFixture) -> None:
    participants = [fixture.join(name) for name in ("ada", "bob", "eve")]
    room = fixture.room
    room.messages.send_chat(participants[0], "hi")
    deliveries = [sink_of(participant).deliveries[-1] for participant in participants]
    assert deliveries[0] is deliveries[1] is deliveries[2]
    assert deliveries[0].number == room.members.number
    numbers = [delivery.number for delivery in sink_of(participants[0]).deliveries]
    assert numbers == sorted(set(numbers))


LOCKED = [
    ("a stranger", "eve", {}, "room_locked"),
    ("an admin", "root", {"admin": True}, ""),
    ("a recorder", "rec", {"hidden": True, "recorder": True}, ""),
    ("one inside already", "ada", {}, ""),
]


@pytest.mark.parametrize(("who", "identity", "permissions", "code"), LOCKED, ids=[row[0] for row in LOCKED])
def test_a_locked_room(fixture: RoomsFixture, who: str, identity: str, permissions: dict[str, Any], code: str) -> None:
    fixture.join("ada")
    fixture.rooms.update("standup", locked=True)
    if code:
        with pytest.raises(Conflict) as refused:
            fixture.join(identity, **permissions)
        assert refused.value.code == code
    else:
        fixture.join(identity, **permissions)


def test_a_full_room_lets_its_participants_rejoin() -> None:
    fixture = RoomsFixture(max_participants=2)
    fixture.join("ada")
    bob = fixture.join("bob")
    with pytest.raises(AtCapacity) as refused:
        fixture.join("root", admin=True)
    assert refused.value.code == "room_full"
    fixture.join("bob")
    assert sink_of(bob).removal == ("duplicate_identity", "You joined from somewhere else.")
    assert len(fixture.room.members) == 2


def test_leaving_ends_the_participants_tracks(fixture: RoomsFixture) -> None:
    ada, bob = fixture.join("ada"), fixture.join("bob")
    media = FakeMedia()
    bob.subscriptions.attach_sink(media)
    publication = fixture.room.publications.publish(ada, FakeSource(), TrackDescription(source="camera"))
    sink_of(bob).take()
    fixture.room.leave(ada)
    assert media.calls[-1] == ("unsubscribe", publication.id)
    assert sink_of(bob).take() == ["ParticipantLeft"]
    assert len(fixture.room.publications) == 0
    assert ada.publications == {}


def test_closing_notifies_all_participants(fixture: RoomsFixture) -> None:
    ada = fixture.join("ada", admin=True)
    fixture.rooms.update("standup", lobby=True)
    waiting = fixture.wait("eve")
    fixture.rooms.delete("standup")
    assert sink_of(ada).removal == ("room_closed", "The room was closed.")
    assert sink_of(waiting).removal == ("room_closed", "The room was closed.")
    assert len(fixture.rooms) == 0
    fixture.room.close()


def test_the_lobby(fixture: RoomsFixture) -> None:
    ada = fixture.join("ada", admin=True)
    fixture.rooms.update("standup", lobby=True)
    waiting = fixture.wait("eve")
    assert [one.id for one in sink_of(ada).last.waiting] == [waiting.id]
    # Waiting once more replaces the first.
    again = fixture.wait("eve")
    assert sink_of(waiting).removal is not None
    assert [one.id for one in fixture.room.lobby] == [again.id]
    fixture.room.moderation.admit(ada, again.id)
    inside = sink_of(again).participant
    assert inside is not None
    assert (inside.id, inside.identity) == (again.id, "eve")
    # Members pass the lock; only admins get the event of a participant that leaves the lobby.
    fixture.join("eve")
    sink_of(ada).take()
    other = fixture.wait("zoe")
    fixture.room.leave_lobby(other)
    fixture.room.leave_lobby(other)
    assert sink_of(ada).take() == ["LobbyChanged", "LobbyChanged"]


def test_the_lobby_is_bounded_and_a_full_room_admits_none() -> None:
    fixture = RoomsFixture(max_waiting=1, max_participants=2)
    ada = fixture.join("ada", admin=True)
    fixture.rooms.update("standup", lobby=True)
    waiting = fixture.wait("eve")
    with pytest.raises(AtCapacity):
        fixture.wait("bob")
    fixture.join("root", admin=True)
    fixture.room.moderation.admit(ada, waiting.id)
    assert sink_of(waiting).removal == ("room_full", "The room is full.")


@pytest.mark.parametrize(
    ("change", "outcome"),
    [({"lobby": False}, None), ({"locked": True}, ("room_locked", "The room was locked."))],
)
def test_lock_and_lobby_decide_about_waiting_participants(
    fixture: RoomsFixture, change: dict[str, Any], outcome: object
) -> None:
    fixture.join("ada", admin=True)
    fixture.rooms.update("standup", lobby=True)
    waiting = fixture.wait("eve")
    fixture.rooms.update("standup", **change)
    assert sink_of(waiting).removal == outcome
    assert (sink_of(waiting).participant is not None) == (outcome is None)
    assert len(fixture.room.lobby) == 0


def test_a_refused_entry_leaves_no_trace(fixture: RoomsFixture) -> None:
    ada = fixture.join("ada")
    fixture.rooms.update("standup", locked=True)
    sink_of(ada).take()
    sink = FakeSink()
    with pytest.raises(RemoteError):
        fixture.rooms.join("standup", profile("eve"), sink)
    assert sink.deliveries == []
    assert sink_of(ada).take() == []
