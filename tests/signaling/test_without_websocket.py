"""Publishing, subscribing and sessions without a WebSocket and without JSON, as WHIP, WHEP or another dialect use them."""

import pickle
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from sfu.forwarding.decision_log import DecisionLog
from sfu.forwarding.loop_budget import media_budget
from sfu.ids import ParticipantId
from sfu.rooms import Participant, Room
from sfu.rooms import Settings as RoomSettings
from sfu.rooms.events import DataPacket, Delivery, TrackPublished
from sfu.signaling import messages
from sfu.signaling.connection import Connection
from sfu.signaling.dialect import Dialect
from sfu.signaling.messages import ClientMessage, Join, ServerMessage, TrackSpec
from sfu.signaling.publishing import Publishing
from sfu.signaling.serialization import event_message
from sfu.signaling.session import Session
from sfu.signaling.session_state import State
from sfu.signaling.subscribing import Subscribing
from tests.rooms.fakes import FakeSink, profile, sink_of
from tests.signaling.fakes import World, claims, offer_sdp

TRACKS = [TrackSpec(mid="0", source="microphone"), TrackSpec(mid="1", source="camera", width=1280, height=720)]


class PickleDialect:
    """A binary Dialect that counts what it encodes."""

    subprotocol = "pickle"
    binary = True

    def __init__(self) -> None:
        self.events = self.packets = 0
        self._last: tuple[object, bytes] = (None, b"")

    def negotiate(self, join: Join) -> None:
        pass

    def decode(self, frame: str | bytes) -> ClientMessage:
        assert isinstance(frame, bytes)
        message: ClientMessage = pickle.loads(frame)
        return message

    def encode(self, message: ServerMessage) -> bytes:
        return pickle.dumps(message)

    def encode_event(self, delivery: Delivery) -> bytes:
        if self._last[0] is not delivery:
            self.events += 1
            self._last = (delivery, pickle.dumps(event_message(delivery)))
        return self._last[1]

    def frame(self, messages: Sequence[bytes]) -> bytes:
        return pickle.dumps(list(messages))

    def decode_data(self, sender: ParticipantId, payload: str | bytes) -> DataPacket:
        assert isinstance(payload, bytes)
        return DataPacket(sender, "", payload)

    def encode_data(self, packet: DataPacket) -> bytes:
        if self._last[0] is not packet:
            self.packets += 1
            self._last = (packet, packet.payload)
        return self._last[1]


@dataclass(eq=False)
class ListClient:
    """A Client that keeps the messages as objects."""

    room: Room
    dialect: Dialect = field(default_factory=PickleDialect)
    attached: bool = True
    received: list[ServerMessage] = field(default_factory=list)

    def send(self, message: ServerMessage) -> None:
        self.received.append(message)

    def send_event(self, number: int, message: ServerMessage) -> None:
        self.received.append(message)

    def next_event_number(self) -> int:
        return self.room.members.next_number()

    def publisher_lost(self) -> None:
        pass


@dataclass(eq=False)
class BinarySocket:
    received: list[ServerMessage] = field(default_factory=list)

    def write(self, payload: bytes) -> int:
        self.received += [pickle.loads(message) for message in pickle.loads(payload)]
        return 0

    def close(self, code: int) -> None:
        pass


@pytest.fixture
async def world() -> World:
    return World(rooms=RoomSettings(max_participants=2_000))


def joined(world: World, identity: str) -> Participant:
    entry = world.rooms.join("standup", profile(identity), FakeSink())
    assert isinstance(entry, Participant)
    return entry


async def test_a_participant_publishes_and_another_subscribes_without_a_session(world: World) -> None:
    ada, bob = joined(world, "ada"), joined(world, "bob")
    room = world.rooms.find("standup")
    publishing = Publishing(world.context, ListClient(room), room, ada, DecisionLog(Counter()), media_budget())
    client = ListClient(room)
    trace = world.context.join_traces.begin()
    subscribing = Subscribing(world.context, client, bob, trace, DecisionLog(Counter()), media_budget())
    subscribing.open()

    sdp, tracks = publishing.negotiate(offer_sdp("audio", "video"), TRACKS)
    assert sdp.startswith("v=0")
    assert set(tracks.values()) == set(ada.publications)
    published = [each.event.publication for each in sink_of(bob).deliveries if isinstance(each.event, TrackPublished)]
    assert [(one.owner, one.kind, one.description.source) for one in published] == [
        (ada.id, "audio", "microphone"),
        (ada.id, "video", "camera"),
    ]

    assert set(world.endpoint.subscriber(bob.id).tracks) == set(ada.publications)
    offer = next(one for one in reversed(client.received) if isinstance(one, messages.Offer))
    assert set(offer.tracks.values()) == set(tracks.values())
    subscribing.accept_answer(offer.id, "v=0\r\n")
    assert subscribing.pending_offer_id == 0
    states = [one for one in client.received if isinstance(one, messages.SubscriptionState)]
    assert [state.track for state in states] == list(tracks.values())

    publishing.close()
    subscribing.close()
    assert all(one.closed for one in world.endpoint.publishers)
    assert all(one.closed for one in world.endpoint.subscribers)


async def test_a_session_publishes_without_a_socket(world: World) -> None:
    bob = joined(world, "bob")
    session = Session(world.context, world.sessions, PickleDialect(), claims("ada"), 1)
    entry = world.rooms.join("standup", profile("ada"), session)
    assert isinstance(entry, Participant)
    session.admitted(entry)
    assert session.publishing is not None
    _, tracks = session.publishing.negotiate(offer_sdp("audio", "video"), TRACKS)
    assert sink_of(bob).take() == ["ParticipantJoined", "TrackPublished", "TrackPublished"]
    assert all(track in bob.subscriptions for track in entry.publications)
    assert len(tracks) == 2
    session.leave("left")
    assert sink_of(bob).take() == ["ParticipantLeft"]
    assert session.state is State.ENDED


async def test_another_dialect_joins_publishes_and_sends_data(world: World) -> None:
    dialect = PickleDialect()
    sockets = [BinarySocket(), BinarySocket()]
    connections = [Connection(world.sessions, socket, dialect) for socket in sockets]
    for name, connection in zip(("ada", "bob"), connections, strict=True):
        connection.receive(pickle.dumps(Join(id=1, token=name)))
        connection.receive(pickle.dumps(messages.Publish(id=2, sdp=offer_sdp("audio", "video"), tracks=TRACKS)))
    world.endpoint.publishers[0].listener.data_received(b"\x00\x01", reliable=True)
    for session in world.sessions:
        session.outbox.flush()
    kinds = [type(message).__name__ for message in sockets[0].received]
    assert kinds[0] == "Joined"
    assert {"Answer", "ParticipantJoined", "TrackPublished", "Offer", "SubscriptionState"} <= set(kinds)
    assert world.endpoint.publishers[1].sent == [b"\x00\x01"]


async def test_a_broadcast_is_encoded_once_per_dialect(world: World) -> None:
    dialects = [PickleDialect(), PickleDialect()]
    sessions = []
    for number in range(100):
        session = Session(world.context, world.sessions, dialects[number % 2], claims(f"u{number}"), 1)
        entry = world.rooms.join("standup", profile(f"u{number}"), session)
        assert isinstance(entry, Participant)
        session.admitted(entry)
        sessions.append(entry)
    before = [dialect.events for dialect in dialects]
    world.rooms.find("standup").messages.send_chat(sessions[0], "hello")
    assert [dialect.events for dialect in dialects] == [before[0] + 1, before[1] + 1]
