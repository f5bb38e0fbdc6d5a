"""sfu.signaling.whip_session: a publishing participant without a signalling channel, and its failures.

The media connection is a fake; `test_whip` publishes over real connections.
"""

import pytest

from sfu.errors import AtCapacity, Conflict, NotFound
from sfu.ids import Identity
from sfu.rooms.participant import Profile
from sfu.rooms.permissions import Permissions
from sfu.sdp.description import parse
from sfu.sdp.ingest_offer import IngestOffer, accept_ingest
from sfu.signaling.http_session import Requester
from sfu.signaling.http_sessions import HttpSessions
from sfu.signaling.messages import ChatEntry, ChatMessage, TrackSpec
from sfu.signaling.whip_session import WhipSession
from tests.signaling.fakes import FakePublisher, World, claims, offer_sdp

TRACKS = [TrackSpec(mid="0", source="microphone"), TrackSpec(mid="1", source="camera")]


def offer() -> IngestOffer:
    return accept_ingest(parse(offer_sdp("audio", "video")))


class Encoder:
    def __init__(self, world: World | None = None) -> None:
        self.world = world or World()
        self.sessions = HttpSessions(self.world.context)
        requester = Requester.of(claims("obs"), "token", "192.0.2.1")
        self.session = WhipSession(self.world.context, self.sessions, requester)

    def open(self, *, admin: bool = False) -> str:
        profile = Profile(identity=Identity("obs"), permissions=Permissions(admin=admin))
        return self.session.open(profile, offer(), TRACKS)

    @property
    def publisher(self) -> FakePublisher:
        return self.world.endpoint.publishers[-1]


def members(world: World) -> list[str]:
    return [one.identity for one in world.rooms.find("standup").members]


async def test_an_encoder_is_an_ingress_participant_that_publishes() -> None:
    encoder = Encoder()
    assert encoder.open().startswith("v=0")
    participant = encoder.world.rooms.participant("standup", "obs")
    assert participant.kind == "ingress"
    assert [one.description.source for one in participant.publications.values()] == ["microphone", "camera"]
    assert encoder.sessions.find(encoder.session.key) is encoder.session
    assert encoder.session.connected
    assert encoder.session.links() == (encoder.publisher.link,)
    encoder.session.leave()
    assert members(encoder.world) == []
    assert encoder.publisher.closed
    assert (encoder.session.connected, encoder.session.links()) == (False, ())


async def test_a_refused_offer_takes_the_join_back() -> None:
    encoder = Encoder()
    encoder.world.endpoint.refusal = AtCapacity("Full.")
    with pytest.raises(AtCapacity):
        encoder.open()
    assert members(encoder.world) == []
    assert len(encoder.sessions) == 0
    assert encoder.publisher.closed
    assert encoder.world.context.counters.joins == 0


@pytest.mark.parametrize("admin", [False, True])
async def test_an_encoder_does_not_wait_in_a_lobby(admin: bool) -> None:
    world = World()
    ada = world.join("ada")
    ada.say("room", id=2, lobby=True)
    encoder = Encoder(world)
    if admin:
        encoder.open(admin=True)
        assert members(world) == ["ada", "obs"]
        return
    with pytest.raises(Conflict) as error:
        encoder.open()
    assert error.value.code == "lobby"
    assert members(world) == ["ada"]
    assert world.endpoint.publishers == []


async def test_an_encoder_in_the_room_may_rejoin_past_the_lobby() -> None:
    world = World()
    ada = world.join("ada")
    first, second = Encoder(world), Encoder(world)
    first.open()
    ada.say("room", id=2, lobby=True)
    second.open()
    assert first.session.ended
    assert members(world) == ["ada", "obs"]


async def test_the_same_credentials_do_not_restart_ice() -> None:
    encoder = Encoder()
    encoder.open()
    etag = encoder.session.etag
    assert encoder.session.restart_ice("abcd", "x" * 24) == ""
    assert encoder.session.etag == etag
    fragment = encoder.session.restart_ice("new1", "y" * 24)
    assert fragment
    assert encoder.session.etag != etag
    etag = encoder.session.etag
    assert encoder.session.restart_ice("new1", "y" * 24) == fragment  # a repeated request
    assert encoder.session.etag == etag


async def test_a_restart_that_fails_changes_nothing() -> None:
    encoder = Encoder()
    encoder.open()
    etag, encoder.publisher.refusal = encoder.session.etag, AtCapacity("Full.")
    with pytest.raises(AtCapacity):
        encoder.session.restart_ice("new1", "y" * 24)
    assert encoder.session.etag == etag
    encoder.publisher.refusal = None
    assert encoder.session.restart_ice("new1", "y" * 24)


async def test_a_lost_connection_ends_the_session() -> None:
    encoder = Encoder()
    encoder.open()
    encoder.session.publisher_lost()
    assert (encoder.session.ended, members(encoder.world), len(encoder.sessions)) == (True, [], 0)
    with pytest.raises(NotFound):
        encoder.session.restart_ice("new1", "y" * 24)
    encoder.session.leave()


async def test_messages_for_the_client_end_here() -> None:
    encoder = Encoder()
    encoder.open()
    message = ChatMessage(entry=ChatEntry(id="1", participant="PA_1", name="Ada", text="hello", at=0.0))
    encoder.session.send(message)
    encoder.session.send_event(1, message)
    with pytest.raises(RuntimeError):
        encoder.session.next_event_number()
