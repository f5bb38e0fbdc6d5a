"""sfu.cluster.room_wire: every message between a home and its edges survives the network."""

import dataclasses
from typing import Any

import msgspec
import pytest

from sfu.cluster import room_wire
from sfu.ids import ParticipantId, RoomName, TrackId
from sfu.rooms import commands
from sfu.rooms.egress_status import EgressStatus
from sfu.rooms.events import ChatSent, DataPacket, DataSent, LobbyChanged, ParticipantLeft, TrackPublished
from sfu.rooms.history import ChatEntry, DataEntry
from sfu.rooms.mirror import messages as m
from sfu.rooms.snapshot import RoomSnapshot
from sfu.rooms.state import PublicationState, RoomState, WaitingState
from sfu.rooms.track_description import LayerDescription, TrackDescription
from tests.rooms.fakes import RoomsFixture, profile

ADA = ParticipantId("PA_1")
TRACK = PublicationState(
    TrackId("TR_1"), ADA, "video", "VP8", TrackDescription(source="camera", layers=(LayerDescription(rid="q"),)), True
)
STATE = dataclasses.replace(RoomsFixture().join("ada", attributes={"mood": "fine"}).state, publications=(TRACK,))
WAITING = WaitingState(ParticipantId("PA_2"), STATE.identity, "Bob")
CHAT = ChatEntry(id="CH_1", participant=ADA, name="Ada", text="Hello", at=1.0, to="PA_2")
ROOM = RoomSnapshot(
    state=RoomState(RoomName("hall"), "RM_1", "", True, False, 1.0, EgressStatus(live=True)),
    number=7,
    participants=(STATE,),
    chat=(CHAT,),
)
MESSAGES: list[Any] = [
    m.Attach((STATE,), (m.Waiting(ADA, profile("bob")),), ROOM),
    m.Detach(),
    m.Enter(3, profile("bob", admin=True)),
    m.LeaveLobby(ADA),
    m.State(ROOM, (WAITING,)),
    m.Applied(),
    m.Decided(4),
    m.Entered(3, participant=STATE),
    m.Entered(4, waiting=WAITING),
    m.Entered(5, code="room_locked", message="The room is locked."),
    m.Removed(ADA, "kicked", "You were removed."),
    m.Admitted(STATE),
    m.Packet(DataPacket(ADA, "pointer", b"[1, 2]"), True),
    m.Update(TrackPublished(TRACK), None, ADA),
    m.Update(ParticipantLeft(ADA, "left"), ()),
    m.Update(ChatSent(CHAT), (ADA,)),
    m.Update(DataSent(DataEntry(participant=ADA, topic="poll", payload="1", at=2.0), True)),
    m.Update(LobbyChanged((WAITING,)), (ADA,)),
    m.Command(4, ADA, commands.SendChat("CH_2", "Hello", "")),
    m.Command(4, ADA, commands.SendData("poll", "1", ("PA_2",), False)),
    m.Command(4, ADA, commands.Kick("PA_2", "")),
    m.Command(4, ADA, commands.MuteTrack(TRACK.id, True)),
    m.Command(4, ADA, commands.Admit("PA_2")),
    m.Command(4, ADA, commands.Deny("PA_2")),
    m.Command(4, ADA, commands.UpdateRoom(True, None, "")),
]


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_messages_arrive_as_they_were_sent(message: Any) -> None:
    received = room_wire.decode(room_wire.encode(message))
    assert type(received) is type(message)
    assert msgspec.to_builtins(received) == msgspec.to_builtins(message)


def test_all_types_are_tested() -> None:
    sent = {type(message) for message in MESSAGES}
    assert sent == set(m.EdgeMessage.__args__) | set(m.HomeMessage.__args__)
    actions = {type(message.action) for message in MESSAGES if isinstance(message, m.Command)}
    assert actions == set(commands.Action.__args__)


@pytest.mark.parametrize("data", [b"", b"\xc1", b"\x92\xa3Foo\xc0", room_wire.encode(MESSAGES[4])[:-3]])
def test_malformed_messages(data: bytes) -> None:
    with pytest.raises(ValueError, match="message"):
        room_wire.decode(data)
