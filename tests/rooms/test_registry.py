"""Rooms by name: creation, idle timeout and operations of operators."""

import pytest

from sfu.errors import AtCapacity, BadRequest, Conflict, NotAuthorized, NotFound
from sfu.rooms.permissions import Permissions
from sfu.rooms.track_description import TrackDescription
from tests.rooms.fakes import House, sink_of
from tests.support.media_source import FakeSource


@pytest.fixture
def house() -> House:
    return House(idle_timeout=10)


def test_rooms_are_made_on_first_join_and_end_when_idle(house: House) -> None:
    ada = house.seat("ada")
    house.rooms.handle_timer(0)
    house.room.leave(ada)
    for now, count in ((5, 1), (14.9, 1), (15, 0)):
        house.rooms.handle_timer(now)
        assert len(house.rooms) == count
    assert house.room.closed


def test_a_join_in_time_keeps_the_room(house: House) -> None:
    house.rooms.create("den")
    house.rooms.handle_timer(0)
    house.rooms.handle_timer(9)
    ada = house.seat("ada")
    house.rooms.handle_timer(11)
    house.room.leave(ada)
    house.rooms.handle_timer(12)
    house.rooms.handle_timer(21.9)
    assert house.rooms.find("den") is house.room


def test_recorders_do_not_keep_a_room_and_are_told(house: House) -> None:
    recorder = house.seat("rec", hidden=True)
    house.rooms.handle_timer(0)
    house.rooms.handle_timer(10)
    assert sink_of(recorder).removal == ("room_closed", "The room was closed.")


def test_a_room_may_have_its_own_idle_time(house: House) -> None:
    house.rooms.create("hall", idle_timeout=100)
    house.rooms.handle_timer(0)
    house.rooms.handle_timer(50)
    assert len(house.rooms) == 1


@pytest.mark.parametrize(
    ("name", "error"), [("", BadRequest), ("x" * 129, BadRequest), ("den", Conflict), ("third", AtCapacity)]
)
def test_rooms_that_cannot_be_made(name: str, error: type[Exception]) -> None:
    house = House(max_rooms=2)
    house.rooms.create("den")
    house.rooms.create("hall")
    with pytest.raises(error):
        house.rooms.create(name)


def test_foreign_and_absent_rooms_are_answered_alike() -> None:
    house = House(create_on_join=False)
    with pytest.raises(NotFound) as absent:
        house.rooms.find("den")
    with pytest.raises(NotFound) as not_made:
        house.seat("ada")
    assert absent.value.message == not_made.value.message
    assert house.seat("ada", may_create=True).room == "den"


def test_the_operators_doors(house: House) -> None:
    ada, bob = house.seat("ada"), house.seat("bob")
    publication = house.room.publications.publish(ada, FakeSource(), TrackDescription(source="camera"))
    for seat in (ada, bob):
        sink_of(seat).take()
    house.rooms.mute("den", publication.id)
    assert sink_of(ada).take() == sink_of(bob).take() == ["TrackMuted"]
    with pytest.raises(NotAuthorized):
        house.rooms.mute("den", publication.id, False)
    house.rooms.update("den", metadata="m")
    assert sink_of(ada).take() == ["RoomUpdated"]
    house.rooms.update("den", metadata="m")
    assert sink_of(ada).take() == []
    house.rooms.update_participant("den", "bob", display_name="B", attributes={"a": "1"})
    assert (bob.name, bob.attributes) == ("B", {"a": "1"})
    sink_of(bob).take()
    house.rooms.send_data("den", "p", topic="t", identities=["bob", "nobody"], keep=False)
    assert (sink_of(bob).last.entry.participant, sink_of(bob).last.entry.payload) == ("", "p")
    with pytest.raises(NotFound):
        house.rooms.send_data("den", "p", identities=["nobody"])
    house.rooms.kick("den", "bob", "spam")
    assert sink_of(bob).removal == ("kicked", "You were removed from the room: spam")
    for call in (
        lambda: house.rooms.kick("den", "bob"),
        lambda: house.rooms.participant("den", "bob"),
        lambda: house.rooms.delete("nowhere"),
        lambda: house.rooms.mute("den", "TR_none"),
    ):
        with pytest.raises(NotFound):
            call()
    assert [room.name for room in house.rooms.list()] == ["den"]
    house.rooms.close()
    assert house.rooms.list() == []


def test_one_who_waits_may_be_kicked(house: House) -> None:
    house.seat("ada")
    house.rooms.update("den", lobby=True)
    waiting = house.wait("eve")
    house.rooms.kick("den", "eve")
    assert sink_of(waiting).removal == ("kicked", "You were removed from the room.")


def test_permissions_changed_by_the_operator(house: House) -> None:
    ada, bob = house.seat("ada"), house.seat("bob")
    publications = house.room.publications
    camera = publications.publish(ada, FakeSource(), TrackDescription(source="camera"))
    publications.publish(ada, FakeSource("audio"), TrackDescription(source="microphone"))
    house.rooms.set_permissions("den", "ada", Permissions(sources=("microphone",)))
    assert [publication.description.source for publication in ada.publications.values()] == ["microphone"]
    house.rooms.set_permissions("den", "bob", Permissions(subscribe=False))
    assert camera.id not in bob.subscriptions
    house.rooms.set_permissions("den", "bob", Permissions())
    assert set(ada.publications) == {track for track in ada.publications if track in bob.subscriptions}
    with pytest.raises(NotAuthorized):
        house.rooms.set_permissions("den", "bob", Permissions(hidden=True))
