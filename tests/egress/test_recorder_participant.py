"""The hidden recorder: invisible, not counted, informed of all members, subscribed to visible tracks."""

import asyncio

import pytest

from sfu.egress.protocol import Members, Speakers, TileSize, ToWorker
from sfu.egress.recorder_participant import RecorderParticipant
from sfu.errors import AtCapacity
from sfu.ids import Identity, TrackId
from sfu.rooms import Permissions
from sfu.rooms.events import SpeakersChanged
from sfu.rooms.participant import Participant, Profile
from sfu.rooms.ports import MediaSource, SubscriptionSettings
from sfu.rooms.registry import Rooms
from sfu.rooms.settings import Settings
from sfu.rooms.track_description import TrackDescription
from tests.rooms.fakes import FakeSink
from tests.support.media_source import FakeSource


class FakePlainTransport:
    def __init__(self) -> None:
        self.settings: dict[TrackId, SubscriptionSettings] = {}

    def subscribe(self, track: TrackId, source: MediaSource, settings: SubscriptionSettings) -> None:
        self.settings[track] = settings

    def update(self, track: TrackId, settings: SubscriptionSettings) -> None:
        self.settings[track] = settings

    def unsubscribe(self, track: TrackId) -> None:
        del self.settings[track]

    def ssrc(self, track: TrackId) -> int:
        return 7 if track in self.settings else 0


class Setup:
    def __init__(self) -> None:
        count = iter(range(1, 1000))
        self.rooms = Rooms(Settings(max_participants=2), lambda prefix: f"{prefix}_{next(count)}", lambda: 1.0)
        self.ada = self.join("ada")
        self.room = self.rooms.find("r")
        self.plain_transport = FakePlainTransport()
        self.sent: list[ToWorker] = []
        self.ended = 0
        self.recorder = RecorderParticipant(self.room, self.plain_transport, self.sent.append, self.end, "secret")  # type: ignore[arg-type]  # stands for the part that is used

    def join(self, name: str) -> Participant:
        participant = self.rooms.join(
            "r", Profile(identity=Identity(name), permissions=Permissions(), name=name), FakeSink()
        )
        assert isinstance(participant, Participant)
        return participant

    def end(self) -> None:
        self.ended += 1

    @property
    def members(self) -> dict[str, list[tuple[str, str, bool]]]:
        newest = next(message for message in reversed(self.sent) if isinstance(message, Members))
        return {one.name: [(track.kind, track.source, track.muted) for track in one.tracks] for one in newest.members}


@pytest.fixture
async def setup() -> Setup:
    return Setup()


async def settled() -> None:
    await asyncio.sleep(0)
    await asyncio.sleep(0)


async def test_it_is_hidden_and_not_counted_and_its_identity_is_random(setup: Setup) -> None:
    setup.join("bob")  # the second of two participants: the recorder does not count
    assert [one.identity for one in setup.room.members.visible()] == ["ada", "bob"]
    with pytest.raises(AtCapacity):
        setup.join("eve")
    setup.room.leave(setup.ada)
    setup.room.leave(next(iter(setup.room.members.visible())))
    assert not setup.room.occupied


async def test_one_member_list_per_loop_iteration(setup: Setup) -> None:
    assert setup.members == {"ada": []}
    before = len(setup.sent)
    microphone = setup.room.publications.publish(setup.ada, FakeSource("audio"), TrackDescription(source="microphone"))
    setup.room.publications.publish(setup.ada, FakeSource("video"), TrackDescription(source="camera"))
    bob = setup.join("bob")
    await settled()
    assert len(setup.sent) == before + 1
    assert setup.members == {
        "ada": [("audio", "microphone", False), ("video", "camera", False)],
        "bob": [],
    }
    setup.room.publications.mute(microphone, True, by=None)
    setup.room.leave(bob)
    await settled()
    assert setup.members == {"ada": [("audio", "microphone", True), ("video", "camera", False)]}


async def test_audio_is_always_subscribed_and_video_while_visible(setup: Setup) -> None:
    sound = setup.room.publications.publish(setup.ada, FakeSource("audio"), TrackDescription(source="microphone"))
    picture = setup.room.publications.publish(setup.ada, FakeSource("video"), TrackDescription(source="camera"))
    await settled()
    assert not setup.plain_transport.settings[sound.id].paused
    assert setup.plain_transport.settings[picture.id].paused
    setup.recorder.set_tile_sizes({picture.id: TileSize(width=320, height=180)})
    assert setup.plain_transport.settings[picture.id] == SubscriptionSettings(width=320, height=180, priority=255)
    setup.recorder.set_tile_sizes({})
    assert setup.plain_transport.settings[picture.id].paused
    setup.room.publications.unpublish(picture)
    assert set(setup.plain_transport.settings) == {sound.id}


async def test_speakers_without_excluded_participants(setup: Setup) -> None:
    setup.recorder.excluded.add("PA_x")
    setup.room.members.broadcast(SpeakersChanged(setup.ada.id, ((setup.ada.id, 0.5), ("PA_x", 0.9))))
    assert setup.sent[-1] == Speakers(dominant=setup.ada.id, levels={setup.ada.id: 0.5})


async def test_it_ends_with_the_room(setup: Setup) -> None:
    setup.rooms.delete("r")
    await settled()
    assert setup.ended == 1
    setup.recorder.close()
