"""Last-N: which cameras and microphones a viewer gets."""

from typing import Any

import pytest

from sfu.rooms.participant import Participant
from sfu.rooms.ports import SubscriptionSettings
from sfu.rooms.publication import Publication
from sfu.rooms.track_description import TrackDescription, TrackSource
from tests.rooms.fakes import FakeMedia, RoomsFixture
from tests.support.media_source import FakeSource

LOUD, QUIET = 20, 80


class Hall(RoomsFixture):
    """People with a camera and a microphone each."""

    def __init__(self, people: str, **settings: Any) -> None:
        super().__init__(**settings)
        self.now = 0.0
        self.people: dict[str, Participant] = {}
        self.media: dict[str, FakeMedia] = {}
        self.sources: dict[str, FakeSource] = {}
        for name in people:
            self.come(name)
            self.publish(name, "microphone", "audio")
            self.publish(name, "camera", "video")

    def come(self, name: str, **permissions: Any) -> Participant:
        person = self.people[name] = self.join(name, **permissions)
        media = self.media[name] = FakeMedia()
        person.subscriptions.attach_sink(media)
        return person

    def publish(self, name: str, source: TrackSource, kind: Any, *, muted: bool = False) -> Publication:
        media = FakeSource(kind, level=QUIET)
        self.sources[f"{name}:{source}"] = media
        person = self.people[name]
        return self.room.publications.publish(person, media, TrackDescription(source=source), muted=muted)

    def track(self, name: str, source: str) -> Publication:
        tracks = self.people[name].publications.values()
        return next(track for track in tracks if track.description.source == source)

    def say(self, seconds: float, *loud: str) -> None:
        for name in self.people:
            microphone = self.sources.get(f"{name}:microphone")
            if microphone is not None:
                microphone.level = LOUD if name in loud else QUIET
        until = self.now + seconds - 0.01
        while self.now < until:
            self.rooms.observe_levels(self.now)
            self.now += 0.1

    def gets(self, viewer: str, source: str = "camera") -> str:
        """Owners of the tracks that reach the viewer, by the last call of its sink."""
        state: dict[str, SubscriptionSettings | None] = {}
        for call in self.media[viewer].calls:
            state[call[1]] = call[2] if len(call) > 2 else None
        found = ""
        for name, person in self.people.items():
            for publication in person.publications.values():
                settings = state.get(publication.id)
                if publication.description.source == source and settings is not None and not settings.stopped:
                    found += name
        return found


def test_without_limits_nothing_is_withheld() -> None:
    hall = Hall("abcdef")
    hall.say(2.0, "f")
    assert (hall.gets("a"), hall.gets("a", "microphone")) == ("bcdef", "bcdef")
    assert not hall.room.last_n.needs_levels


def test_each_gets_the_cameras_of_the_last_speakers() -> None:
    hall = Hall("abcdef", last_n=2)
    assert [hall.gets(name) for name in "abcdef"] == ["bc", "ac", "ab", "ab", "ab", "ab"]
    hall.say(2.0, "f")
    assert [hall.gets(name) for name in "abcdef"] == ["bf", "af", "af", "af", "af", "ab"]
    assert hall.gets("a", "microphone") == "bcdef"
    late = hall.come("g")
    assert hall.gets("g") == "af"
    hall.room.leave(hall.people["f"])
    del hall.people["f"]
    assert (hall.gets("g"), hall.gets("c")) == ("ab", "ab")
    hall.publish("g", "screen_share", "video")
    assert hall.gets("a", "screen_share") == "g"
    assert late.subscriptions.settings(hall.track("c", "camera").id) == SubscriptionSettings()


def test_settings_survive_while_the_room_withholds_the_track() -> None:
    hall = Hall("abcd", last_n=1)
    track = hall.track("d", "camera")
    viewer = hall.people["b"]
    viewer.subscriptions.update(track, width=320, height=180)
    assert hall.media["b"].calls[-1] == ("update", track.id, SubscriptionSettings(320, 180, withheld=True))
    assert viewer.subscriptions.settings(track.id) == SubscriptionSettings(320, 180)
    hall.say(2.0, "d")
    assert [call for call in hall.media["b"].calls if call[1] == track.id][-1] == (
        "update",
        track.id,
        SubscriptionSettings(320, 180),
    )


def test_the_picture_that_a_viewer_shows_largest_is_sent() -> None:
    hall = Hall("abcd", last_n=1)
    viewer = hall.people["b"].subscriptions
    viewer.update(hall.track("d", "camera"), priority=255)
    assert hall.gets("b") == "ad"
    viewer.update(hall.track("d", "camera"), priority=200)
    assert hall.gets("b") == "a"


def test_a_camera_that_is_off_takes_no_place() -> None:
    hall = Hall("abcd", last_n=2)
    publications = hall.room.publications
    publications.mute(hall.track("a", "camera"), True, by=None)
    assert hall.gets("d") == "abc"  # a's is muted, not withheld: its owner says so, not the room
    publications.mute(hall.track("a", "camera"), False, by=None)
    assert hall.gets("d") == "bc"
    hall.publish("d", "camera", "video", muted=True)
    publications.unpublish(hall.track("b", "camera"))
    assert hall.gets("d") == "ac"


def test_a_camera_becomes_a_screen() -> None:
    hall = Hall("abcd", last_n=1)
    publications = hall.room.publications
    publications.update_description(hall.track("d", "camera"), TrackDescription(source="screen_share"))
    assert hall.gets("b", "screen_share") == "d"


@pytest.mark.parametrize("permissions", [{"hidden": True}, {"recorder": True}, {"hidden": True, "recorder": True}])
def test_recorders_get_all_tracks(permissions: dict[str, bool]) -> None:
    hall = Hall("abcdef", last_n=1, loudest=1)
    hall.say(0.2)
    hall.come("r", **permissions)
    hall.say(2.0, "f")
    assert (hall.gets("r"), hall.gets("r", "microphone")) == ("abcdef", "abcdef")
    hall.publish("a", "camera", "video")
    assert hall.gets("r") == "aabcdef"


def test_the_loudest_are_heard() -> None:
    hall = Hall("abcdef", loudest=2)
    assert hall.gets("f", "microphone") == "abcde"  # nothing is known of their levels
    hall.say(0.1)
    assert hall.gets("f", "microphone") == "ab"
    assert hall.room.last_n.needs_levels
    hall.say(1.0)
    hall.say(0.1, "e")
    assert hall.gets("f", "microphone") == "be"
    assert hall.gets("f") == "abcde"
    assert hall.come("g").subscriptions
    assert hall.gets("g", "microphone") == "be"


def test_an_unmuted_microphone_is_heard_at_once() -> None:
    hall = Hall("abcd", loudest=2)
    publications = hall.room.publications
    hall.say(1.0)
    for name in "cd":
        publications.mute(hall.track(name, "microphone"), True, by=None)
    assert hall.gets("a", "microphone") == "bcd"
    hall.say(1.0)
    publications.mute(hall.track("d", "microphone"), False, by=None)
    assert hall.gets("b", "microphone") == "cd"
    hall.say(1.0, "a")
    assert hall.gets("b", "microphone") == "acd"
    hall.publish("c", "screen_share_audio", "audio")
    assert hall.gets("b", "screen_share_audio") == "c"


def test_a_microphone_without_levels_is_heard() -> None:
    hall = Hall("abcd", loudest=1)
    hall.come("o")
    hall.publish("o", "microphone", "audio")
    hall.sources["o:microphone"].level = None
    del hall.sources["o:microphone"]
    hall.say(2.0, "b")
    hall.room.publications.mute(hall.track("o", "microphone"), True, by=None)
    hall.room.publications.mute(hall.track("o", "microphone"), False, by=None)
    assert hall.gets("a", "microphone") == "bo"


def test_a_former_recorder_gets_the_tracks_of_other_participants() -> None:
    hall = Hall("abcd", last_n=1)
    recorder = hall.come("r", recorder=True)
    assert hall.gets("r") == "abcd"
    hall.rooms.set_permissions("standup", "r", type(recorder.permissions)())
    assert hall.gets("r") == "a"


def test_a_room_has_limits_of_its_own() -> None:
    hall = Hall("", last_n=9)
    room = hall.rooms.create("standup", last_n=1, loudest=0)
    for name in "abc":
        hall.come(name)
        hall.publish(name, "camera", "video")
    assert hall.room is room
    assert hall.gets("c") == "a"
