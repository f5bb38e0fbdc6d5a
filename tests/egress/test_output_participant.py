"""The participant that publishes the mix into its room."""

from collections.abc import AsyncIterator, Callable

import pytest

from sfu.egress.output_participant import NAME, OutputParticipant
from sfu.errors import AtCapacity
from sfu.forwarding.layers import Size
from sfu.rooms.events import ParticipantLeft
from sfu.rooms.track_description import TrackDescription
from sfu.transport.plain_transport import PlainTransport
from sfu.transport.webrtc_server import WebRtcServer
from tests.rooms.fakes import RoomsFixture, sink_of
from tests.support.media_source import FakeSource
from tests.transport.test_connection import webrtc_server

__all__ = ["webrtc_server"]


class Removals:
    count = 0

    def __call__(self) -> None:
        self.count += 1


Publish = Callable[[RoomsFixture, Removals], OutputParticipant]


@pytest.fixture
async def publish(webrtc_server: WebRtcServer) -> AsyncIterator[Publish]:
    plain_transport = PlainTransport(webrtc_server, "mix")

    def make(fixture: RoomsFixture, removed: Removals) -> OutputParticipant:
        return OutputParticipant(fixture.room, plain_transport, Size(1280, 720), "secret", removed)

    yield make
    plain_transport.close()


async def test_the_mix_is_published_as_a_screen_with_sound(publish: Publish) -> None:
    fixture, removed = RoomsFixture(), Removals()
    ada = fixture.join("ada")
    fixture.room.publications.publish(ada, FakeSource(), TrackDescription(source="camera"))
    mix = publish(fixture, removed)
    participant = mix.participant
    assert (participant.identity, participant.name) == ("egress:secret", NAME)
    assert [
        (one.media.kind, one.media.codec, one.description.source, one.description.width, one.description.height)
        for one in participant.publications.values()
    ] == [("video", "H264", "screen_share", 1280, 720), ("audio", "opus", "screen_share_audio", 0, 0)]
    assert mix.video_ssrc != mix.audio_ssrc
    assert min(mix.video_ssrc, mix.audio_ssrc) > 0
    assert len(participant.publications) == 2
    assert not any(track in participant.subscriptions for track in ada.publications)
    assert all(track in ada.subscriptions for track in participant.publications)
    mix.close()


async def test_closing_removes_participant_and_media_once(publish: Publish) -> None:
    fixture, removed = RoomsFixture(), Removals()
    ada = fixture.join("ada")
    mix = publish(fixture, removed)
    tracks = [one.media.track for one in mix.participant.publications.values()]
    mix.close()
    mix.close()
    assert all(track.closed for track in tracks)
    assert sink_of(ada).last == ParticipantLeft(mix.participant.id, "left")
    assert [one.identity for one in fixture.room.members] == ["ada"]
    assert removed.count == 0, "its owner closed it"


async def test_its_owner_learns_of_a_removal(publish: Publish) -> None:
    fixture, removed = RoomsFixture(), Removals()
    fixture.join("ada")
    mix = publish(fixture, removed)
    fixture.room.moderation.kick(None, mix.participant.id)
    assert removed.count == 1
    mix.close()


async def test_lock_lobby_and_limits_of_people_do_not_apply(publish: Publish) -> None:
    fixture, removed = RoomsFixture(max_participants=1), Removals()
    fixture.join("ada")
    fixture.room.locked = fixture.room.lobby_enabled = True
    mix = publish(fixture, removed)
    assert mix.participant in fixture.room.members
    fixture.room.locked = fixture.room.lobby_enabled = False
    with pytest.raises(AtCapacity):
        fixture.join("bob")
    mix.close()
