"""A room that continues on another node: snapshot, restore, participants that are away, publications without media."""

import msgspec
import pytest

from sfu.errors import Conflict
from sfu.rooms.events import TrackMuted, TrackPublished
from sfu.rooms.participant import Participant
from sfu.rooms.publication import Publication
from sfu.rooms.room import Room
from sfu.rooms.snapshot import RoomSnapshot
from sfu.rooms.track_description import TrackDescription, TrackSource
from tests.rooms.fakes import FakeMedia, FakeSink, RoomsFixture, sink_of
from tests.support.media_source import FakeSource

AWAY = 30.0


def publish(room: Room, owner: Participant, source: TrackSource = "camera", *, muted: bool = False) -> Publication:
    media = FakeSource(kind="audio" if source == "microphone" else "video")
    return room.publications.publish(owner, media, TrackDescription(source=source), muted=muted)


def move(fixture: RoomsFixture) -> tuple[RoomsFixture, Room]:
    """The room on another node, as it passes the network."""
    snapshot = fixture.rooms.snapshot("standup")
    received = msgspec.msgpack.decode(msgspec.msgpack.encode(snapshot), type=RoomSnapshot)
    assert received == snapshot
    other = RoomsFixture()
    for _ in range(10):
        other.ids("PA")  # ids of two nodes differ
    return other, other.rooms.restore(received)


@pytest.fixture
def fixture() -> RoomsFixture:
    fixture = RoomsFixture()
    ada, bob = fixture.join("ada", admin=True), fixture.join("bob", attributes={"mood": "fine"})
    fixture.join("tape", hidden=True, recorder=True)
    publish(fixture.room, ada)
    publish(fixture.room, bob, "microphone", muted=True)
    fixture.room.messages.send_chat(ada, "Shall we start?")
    fixture.room.messages.send_chat(ada, "Just for you", to=bob.id)
    fixture.room.messages.send_data(bob, "poll", "yes", keep=True)
    fixture.room.moderation.update(ada, locked=True, metadata="Sprint 12")
    return fixture


def test_a_restored_room_has_the_state_of_the_old_one(fixture: RoomsFixture) -> None:
    _, room = move(fixture)
    before = fixture.room
    assert room.state == before.state
    assert [one.state for one in room.members] == [one.state for one in before.members if not one.permissions.recorder]
    assert room.messages.history() == before.messages.history()
    assert room.members.number == before.members.number
    assert len(room.away) == 2


def test_a_room_is_not_restored_over_a_living_one(fixture: RoomsFixture) -> None:
    with pytest.raises(Conflict):
        fixture.rooms.restore(fixture.rooms.snapshot("standup"))


def test_a_participant_that_returns_is_not_announced(fixture: RoomsFixture) -> None:
    other, room = move(fixture)
    ada, bob = (room.members.find_by_identity(name) for name in ("ada", "bob"))
    assert ada is not None
    assert bob is not None
    first, second = FakeSink(), FakeSink()
    assert other.rooms.take_back("standup", ada.id, first) is ada
    assert other.rooms.take_back("standup", bob.id, second) is bob
    assert other.rooms.take_back("standup", bob.id, FakeSink()) is None
    assert first.take() == second.take() == []
    assert len(room.away) == 0


def test_absent_participants_leave_and_others_stay(fixture: RoomsFixture) -> None:
    other, room = move(fixture)
    ada = room.members.find_by_identity("ada")
    assert ada is not None
    sink = FakeSink()
    other.rooms.take_back("standup", ada.id, sink)
    other.rooms.handle_timer(100.0)
    other.rooms.handle_timer(100.0 + AWAY - 1)
    assert sink.take() == []
    other.rooms.handle_timer(100.0 + AWAY)
    assert sink.take() == ["ParticipantLeft", "TrackUnpublished"]
    assert [one.identity for one in room.members] == ["ada"]
    assert len(room.publications) == 0
    other.rooms.handle_timer(100.0 + 2 * AWAY)
    assert [one.identity for one in room.members] == ["ada"]


def test_a_token_of_the_same_identity_replaces_the_participant_that_is_away(fixture: RoomsFixture) -> None:
    other, room = move(fixture)
    before = room.members.find_by_identity("bob")
    other.join("bob")
    assert before is not None
    assert other.rooms.take_back("standup", before.id, FakeSink()) is None
    assert [one.identity for one in room.members] == ["ada", "bob"]


def test_a_bound_publication_reaches_its_subscribers_under_its_old_id(fixture: RoomsFixture) -> None:
    other, room = move(fixture)
    ada, bob = (room.members.find_by_identity(name) for name in ("ada", "bob"))
    assert ada is not None
    assert bob is not None
    other.rooms.take_back("standup", bob.id, FakeSink())
    connection = FakeMedia()
    bob.subscriptions.attach_sink(connection)
    (camera,) = ada.publications.values()
    bob.subscriptions.update(camera, width=320)
    assert connection.calls == []
    assert room.publications.find_unbound(bob, camera.id, "video") is None
    assert room.publications.find_unbound(ada, camera.id, "audio") is None
    assert room.publications.find_unbound(ada, camera.id, "video") is camera
    room.publications.bind(camera, FakeSource(kind="video"), TrackDescription(source="camera"))
    assert [call[:2] for call in connection.calls] == [("subscribe", camera.id)]
    assert connection.calls[0][2].width == 320
    assert room.publications.find_unbound(ada, camera.id, "video") is None


def test_a_bound_publication_keeps_its_mute_state(fixture: RoomsFixture) -> None:
    _, room = move(fixture)
    bob = room.members.find_by_identity("bob")
    assert bob is not None
    (microphone,) = bob.publications.values()
    media = FakeSource(kind="audio")
    room.publications.bind(microphone, media, TrackDescription(source="microphone"))
    assert microphone.muted
    assert media.muted


def test_bound_publications_are_described_again(fixture: RoomsFixture) -> None:
    other, room = move(fixture)
    ada, bob = (room.members.find_by_identity(name) for name in ("ada", "bob"))
    assert ada is not None
    assert bob is not None
    sink = FakeSink()
    other.rooms.take_back("standup", bob.id, sink)
    (camera,) = ada.publications.values()
    room.publications.bind(camera, FakeSource(kind="video", codec="H264"), camera.description)
    assert isinstance(sink.last, TrackPublished)
    assert sink.last.publication.codec == "H264"


def test_restored_publications_can_be_muted_and_unsubscribed_before_their_media_return(fixture: RoomsFixture) -> None:
    other, room = move(fixture)
    ada, bob = (room.members.find_by_identity(name) for name in ("ada", "bob"))
    assert ada is not None
    assert bob is not None
    sink = FakeSink()
    other.rooms.take_back("standup", bob.id, sink)
    (camera,) = ada.publications.values()
    connection = FakeMedia()
    bob.subscriptions.attach_sink(connection)
    room.moderation.mute(None, camera.id, True)
    assert isinstance(sink.last, TrackMuted)
    bob.subscriptions.unsubscribe(camera.id)
    media = FakeSource(kind="video")
    room.publications.bind(camera, media, camera.description)
    assert media.muted
    assert connection.calls == []


def test_changes_are_reported_and_levels_are_not() -> None:
    changes: list[str] = []
    fixture = RoomsFixture(changed=changes.append)
    ada = fixture.join("ada", admin=True)
    fixture.join("bob")
    room = fixture.room
    changes.clear()
    room.active_speakers.observe(1.0)
    room.quality.observe()
    room.members.next_number()
    assert changes == []
    for change in (
        lambda: fixture.join("eve", hidden=True),
        lambda: room.messages.send_chat(ada, "Hello"),
        lambda: room.moderation.update(None, locked=True),
        lambda: fixture.rooms.update_participant("standup", "bob", metadata="x"),
        lambda: fixture.rooms.kick("standup", "bob"),
    ):
        change()
        assert set(changes) == {"standup"}
        changes.clear()


def test_a_removed_participant_is_no_longer_away(fixture: RoomsFixture) -> None:
    other, room = move(fixture)
    other.rooms.kick("standup", "bob")
    assert [one.identity for one in room.away] == ["ada"]
    assert sink_of(fixture.join("zoe", admin=True)).removal is None
