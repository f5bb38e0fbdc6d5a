"""A production in its room: unseen, uncounted, told of everybody, subscribed to what is shown."""

import asyncio
from collections.abc import Iterator

import pytest

from sfu.egress.protocol import Members, Speakers, TileSize, ToWorker
from sfu.egress.recorder_participant import RecorderParticipant
from sfu.errors import AtCapacity
from sfu.ids import Identity, TrackId
from sfu.rooms import Permissions
from sfu.rooms.events import SpeakersChanged
from sfu.rooms.participant import Participant, Profile
from sfu.rooms.ports import MediaSource, SubscriptionSettings
from sfu.rooms.publication import TrackDescription
from sfu.rooms.registry import Rooms
from sfu.rooms.settings import Settings
from tests.rooms.fakes import FakeSink, FakeSource


class FakeFeed:
    def __init__(self) -> None:
        self.wishes: dict[TrackId, SubscriptionSettings] = {}

    def subscribe(self, track: TrackId, source: MediaSource, settings: SubscriptionSettings) -> None:
        self.wishes[track] = settings

    def update(self, track: TrackId, settings: SubscriptionSettings) -> None:
        self.wishes[track] = settings

    def unsubscribe(self, track: TrackId) -> None:
        del self.wishes[track]

    def ssrc(self, track: TrackId) -> int:
        return 7 if track in self.wishes else 0


class Stand:
    def __init__(self) -> None:
        count = iter(range(1, 1000))
        self.rooms = Rooms(Settings(max_participants=2), lambda prefix: f"{prefix}_{next(count)}", lambda: 1.0)
        self.ada = self.join("ada")
        self.room = self.ada.room
        self.plain_transport = FakeFeed()
        self.told: list[ToWorker] = []
        self.ended = 0
        self.recorder = RecorderParticipant(self.room, self.plain_transport, self.told.append, self.end, "secret")  # type: ignore[arg-type]

    def join(self, name: str) -> Participant:
        seat = self.rooms.join("r", Profile(identity=Identity(name), permissions=Permissions(), name=name), FakeSink())
        assert isinstance(seat, Participant)
        return seat

    def end(self) -> None:
        self.ended += 1

    @property
    def members(self) -> dict[str, list[tuple[str, str, bool]]]:
        newest = next(message for message in reversed(self.told) if isinstance(message, Members))
        return {one.name: [(track.kind, track.source, track.muted) for track in one.tracks] for one in newest.members}


@pytest.fixture
async def stand() -> Iterator[Stand]:
    return Stand()


async def settled() -> None:
    await asyncio.sleep(0)
    await asyncio.sleep(0)


async def test_nobody_sees_or_counts_it_and_no_token_can_name_it(stand: Stand) -> None:
    stand.join("bob")  # the second of two: the production takes nobody's place
    assert [one.identity for one in stand.room.members.visible()] == ["ada", "bob"]
    with pytest.raises(AtCapacity):
        stand.join("eve")
    stand.room.leave(stand.ada)
    stand.room.leave(next(iter(stand.room.members.visible())))
    assert not stand.room.occupied


async def test_the_worker_is_told_of_everybody_once_per_turn(stand: Stand) -> None:
    assert stand.members == {"ada": []}
    before = len(stand.told)
    microphone = stand.room.publications.publish(stand.ada, FakeSource("audio"), TrackDescription(source="microphone"))
    stand.room.publications.publish(stand.ada, FakeSource("video"), TrackDescription(source="camera"))
    bob = stand.join("bob")
    await settled()
    assert len(stand.told) == before + 1
    assert stand.members == {
        "ada": [("audio", "microphone", False), ("video", "camera", False)],
        "bob": [],
    }
    stand.room.publications.mute(microphone, True, by=None)
    stand.room.leave(bob)
    await settled()
    assert stand.members == {"ada": [("audio", "microphone", True), ("video", "camera", False)]}


async def test_sound_is_always_subscribed_to_pictures_while_they_are_shown(stand: Stand) -> None:
    sound = stand.room.publications.publish(stand.ada, FakeSource("audio"), TrackDescription(source="microphone"))
    picture = stand.room.publications.publish(stand.ada, FakeSource("video"), TrackDescription(source="camera"))
    await settled()
    assert not stand.plain_transport.wishes[sound.id].paused
    assert stand.plain_transport.wishes[picture.id].paused
    stand.recorder.set_tile_sizes({picture.id: TileSize(width=320, height=180)})
    assert stand.plain_transport.wishes[picture.id] == SubscriptionSettings(width=320, height=180, priority=255)
    stand.recorder.set_tile_sizes({})
    assert stand.plain_transport.wishes[picture.id].paused
    stand.room.publications.unpublish(picture)
    assert set(stand.plain_transport.wishes) == {sound.id}


async def test_speakers_are_told_but_for_those_left_out(stand: Stand) -> None:
    stand.recorder.excluded.add("PA_x")
    stand.room.members.broadcast(SpeakersChanged(stand.ada.id, ((stand.ada.id, 0.5), ("PA_x", 0.9))))
    assert stand.told[-1] == Speakers(dominant=stand.ada.id, levels={stand.ada.id: 0.5})


async def test_the_room_ends_and_so_does_it(stand: Stand) -> None:
    stand.rooms.delete("r")
    await settled()
    assert stand.ended == 1
    stand.recorder.close()
