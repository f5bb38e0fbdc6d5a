"""Rooms by name: creation, idle timeout and operations of operators."""

import pytest

from sfu.errors import AtCapacity, BadRequest, Conflict, NotAuthorized, NotFound
from sfu.rooms.permissions import Permissions
from sfu.rooms.track_description import TrackDescription
from tests.rooms.fakes import RoomsFixture, sink_of
from tests.support.media_source import FakeSource


@pytest.fixture
def fixture() -> RoomsFixture:
    return RoomsFixture(idle_timeout=10)


def test_rooms_are_made_on_first_join_and_end_when_idle(fixture: RoomsFixture) -> None:
    ada = fixture.join("ada")
    fixture.rooms.handle_timer(0)
    fixture.room.leave(ada)
    for now, count in ((5, 1), (14.9, 1), (15, 0)):
        fixture.rooms.handle_timer(now)
        assert len(fixture.rooms) == count
    assert fixture.room.closed


def test_a_join_in_time_keeps_the_room(fixture: RoomsFixture) -> None:
    fixture.rooms.create("standup")
    fixture.rooms.handle_timer(0)
    fixture.rooms.handle_timer(9)
    ada = fixture.join("ada")
    fixture.rooms.handle_timer(11)
    fixture.room.leave(ada)
    fixture.rooms.handle_timer(12)
    fixture.rooms.handle_timer(21.9)
    assert fixture.rooms.find("standup") is fixture.room


def test_recorders_do_not_keep_a_room_and_are_notified(fixture: RoomsFixture) -> None:
    recorder = fixture.join("rec", hidden=True)
    fixture.rooms.handle_timer(0)
    fixture.rooms.handle_timer(10)
    assert sink_of(recorder).removal == ("room_closed", "The room was closed.")


def test_a_room_may_have_its_own_idle_time(fixture: RoomsFixture) -> None:
    fixture.rooms.create("hall", idle_timeout=100)
    fixture.rooms.handle_timer(0)
    fixture.rooms.handle_timer(50)
    assert len(fixture.rooms) == 1


@pytest.mark.parametrize(
    ("name", "error"), [("", BadRequest), ("x" * 129, BadRequest), ("standup", Conflict), ("third", AtCapacity)]
)
def test_rooms_that_cannot_be_made(name: str, error: type[Exception]) -> None:
    fixture = RoomsFixture(max_rooms=2)
    fixture.rooms.create("standup")
    fixture.rooms.create("hall")
    with pytest.raises(error):
        fixture.rooms.create(name)


def test_foreign_and_absent_rooms_are_answered_alike() -> None:
    fixture = RoomsFixture(create_on_join=False)
    with pytest.raises(NotFound) as absent:
        fixture.rooms.find("standup")
    with pytest.raises(NotFound) as not_made:
        fixture.join("ada")
    assert absent.value.message == not_made.value.message
    assert fixture.join("ada", may_create=True).room == "standup"


def test_operators_mute_and_update_without_a_participant(fixture: RoomsFixture) -> None:
    ada, bob = fixture.join("ada"), fixture.join("bob")
    publication = fixture.room.publications.publish(ada, FakeSource(), TrackDescription(source="camera"))
    for participant in (ada, bob):
        sink_of(participant).take()
    fixture.rooms.mute("standup", publication.id)
    assert sink_of(ada).take() == sink_of(bob).take() == ["TrackMuted"]
    with pytest.raises(NotAuthorized):
        fixture.rooms.mute("standup", publication.id, False)
    fixture.rooms.update("standup", metadata="m")
    assert sink_of(ada).take() == ["RoomUpdated"]
    fixture.rooms.update("standup", metadata="m")
    assert sink_of(ada).take() == []
    fixture.rooms.update_participant("standup", "bob", display_name="B", attributes={"a": "1"})
    assert (bob.name, bob.attributes) == ("B", {"a": "1"})
    sink_of(bob).take()
    fixture.rooms.send_data("standup", "p", topic="t", identities=["bob", "nobody"], keep=False)
    assert (sink_of(bob).last.entry.participant, sink_of(bob).last.entry.payload) == ("", "p")
    with pytest.raises(NotFound):
        fixture.rooms.send_data("standup", "p", identities=["nobody"])
    fixture.rooms.kick("standup", "bob", "spam")
    assert sink_of(bob).removal == ("kicked", "You were removed from the room: spam")
    for call in (
        lambda: fixture.rooms.kick("standup", "bob"),
        lambda: fixture.rooms.participant("standup", "bob"),
        lambda: fixture.rooms.delete("nowhere"),
        lambda: fixture.rooms.mute("standup", "TR_none"),
    ):
        with pytest.raises(NotFound):
            call()
    assert [room.name for room in fixture.rooms.list()] == ["standup"]
    fixture.rooms.close()
    assert fixture.rooms.list() == []


def test_a_waiting_participant_may_be_kicked(fixture: RoomsFixture) -> None:
    fixture.join("ada")
    fixture.rooms.update("standup", lobby=True)
    waiting = fixture.wait("eve")
    fixture.rooms.kick("standup", "eve")
    assert sink_of(waiting).removal == ("kicked", "You were removed from the room.")


def test_permissions_changed_by_the_operator(fixture: RoomsFixture) -> None:
    ada, bob = fixture.join("ada"), fixture.join("bob")
    publications = fixture.room.publications
    camera = publications.publish(ada, FakeSource(), TrackDescription(source="camera"))
    publications.publish(ada, FakeSource("audio"), TrackDescription(source="microphone"))
    fixture.rooms.set_permissions("standup", "ada", Permissions(sources=("microphone",)))
    assert [publication.description.source for publication in ada.publications.values()] == ["microphone"]
    fixture.rooms.set_permissions("standup", "bob", Permissions(subscribe=False))
    assert camera.id not in bob.subscriptions
    fixture.rooms.set_permissions("standup", "bob", Permissions())
    assert set(ada.publications) == {track for track in ada.publications if track in bob.subscriptions}
    with pytest.raises(NotAuthorized):
        fixture.rooms.set_permissions("standup", "bob", Permissions(hidden=True))
