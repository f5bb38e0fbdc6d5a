"""The table of a room's participants, and the numbered broadcast."""

from sfu.ids import ParticipantId
from sfu.rooms.events import ParticipantLeft, SpeakersChanged
from tests.rooms.fakes import RoomsFixture, sink_of

LEFT = ParticipantLeft(ParticipantId("PA_x"), "left")
SPEAKERS = SpeakersChanged("", ())


def test_only_hidden_recorders_are_not_counted() -> None:
    fixture = RoomsFixture()
    ada = fixture.join("ada")
    fixture.join("spy", hidden=True)
    fixture.join("recorder", recorder=True)
    fixture.join("egress", hidden=True, recorder=True)
    members = fixture.room.members
    assert len(members) == 4
    assert members.participant_count == 3
    assert [one.identity for one in members.visible()] == ["ada", "recorder"]
    assert [one.identity for one in members.visible(exclude=ada)] == ["recorder"]


def test_participants_are_found_by_id_and_by_identity() -> None:
    fixture = RoomsFixture()
    ada, members = fixture.join("ada"), fixture.room.members
    assert members.find(ada.id) is members.find_by_identity("ada") is ada
    assert members.find("ada") is None
    assert members.find_by_identity(ada.id) is None
    assert members.remove(ada)
    assert not members.remove(ada)
    assert members.find(ada.id) is members.find_by_identity("ada") is None


def test_events_that_are_not_transient_are_numbered_without_gaps() -> None:
    fixture = RoomsFixture()
    ada, members = fixture.join("ada"), fixture.room.members
    first = members.number
    members.broadcast(LEFT)
    members.broadcast(SPEAKERS)
    members.send_to(LEFT, ada)
    assert members.next_number() == first + 3
    members.send_to(SPEAKERS, ada)
    members.broadcast(LEFT)
    numbers = [delivery.number for delivery in sink_of(ada).deliveries]
    assert numbers == [first + 1, 0, first + 2, 0, first + 4]


def test_all_receivers_get_the_same_delivery() -> None:
    fixture = RoomsFixture()
    ada, bob, eve = (fixture.join(name) for name in ("ada", "bob", "eve"))
    for participant in (ada, bob, eve):
        sink_of(participant).take()
    fixture.room.members.broadcast(LEFT, exclude=bob)
    assert sink_of(bob).deliveries == []
    assert sink_of(ada).deliveries == sink_of(eve).deliveries
    fixture.room.members.send_to(LEFT, bob)
    assert len(sink_of(bob).deliveries) == len(sink_of(ada).deliveries) == 1


def test_admins_only() -> None:
    fixture = RoomsFixture()
    ada, bob, spy = fixture.join("ada", admin=True), fixture.join("bob"), fixture.join("spy", hidden=True, admin=True)
    for participant in (ada, bob, spy):
        sink_of(participant).take()
    fixture.room.members.send_to_admins(LEFT)
    assert [sink_of(participant).take() for participant in (ada, bob, spy)] == [
        ["ParticipantLeft"],
        [],
        ["ParticipantLeft"],
    ]


def test_members_may_leave_while_they_are_iterated() -> None:
    fixture = RoomsFixture()
    participants = [fixture.join(name) for name in ("ada", "bob", "eve")]
    members = fixture.room.members
    assert [members.remove(one) for one in members] == [True] * len(participants)
    assert list(members) == []
