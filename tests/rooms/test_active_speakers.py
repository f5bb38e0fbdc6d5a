"""Active speakers of a room: broadcast, sync of new participants, and screen audio."""

from sfu.rooms.track_description import TrackDescription
from tests.rooms.fakes import RoomsFixture, sink_of
from tests.support.media_source import FakeSource


def test_microphones_make_speakers() -> None:
    fixture = RoomsFixture()
    ada, bob = fixture.join("ada"), fixture.join("bob")
    fixture.rooms.observe_levels(0.0)
    sources = [FakeSource("audio", level=level) for level in (10, 40, 5)]
    publications = fixture.room.publications
    publications.publish(ada, sources[0], TrackDescription(source="microphone"))
    publications.publish(ada, sources[1], TrackDescription(source="microphone"))
    publications.publish(bob, sources[2], TrackDescription(source="screen_share_audio"))
    sink_of(bob).take()
    for tick in range(10):
        fixture.rooms.observe_levels(tick / 10)
    event = sink_of(bob).last
    assert event.dominant == ada.id
    assert [key for key, _ in event.speakers] == [ada.id]
    assert sink_of(bob).deliveries[-1].number == 0
    late = fixture.join("late")
    fixture.room.active_speakers.sync(late)
    assert sink_of(late).last is event
    for publication in list(ada.publications.values()):
        publications.mute(publication, True, by=ada)
    for tick in range(10, 20):
        fixture.rooms.observe_levels(tick / 10)
    assert sink_of(bob).last.speakers == ()
    fixture.room.leave(ada)
    for tick in range(20, 30):
        fixture.rooms.observe_levels(tick / 10)
    assert sink_of(bob).last.dominant == ""


def test_silence_before_anybody_spoke_says_nothing() -> None:
    fixture = RoomsFixture()
    ada = fixture.join("ada")
    fixture.rooms.observe_levels(0.0)
    fixture.room.active_speakers.sync(ada)
    assert sink_of(ada).take() == []
