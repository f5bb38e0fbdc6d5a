"""Events of a room.

Each event is a frozen value that holds ids and snapshots (state.py), never live records. A sink may therefore keep it,
encode it later, or send it to another node.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from sfu.ids import ParticipantId, TrackId
from sfu.rooms.history import ChatEntry, DataEntry
from sfu.rooms.permissions import Permissions
from sfu.rooms.quality import Quality
from sfu.rooms.state import ParticipantState, PublicationState, RoomState, WaitingState

LeaveReason = Literal[
    "kicked", "duplicate_identity", "room_closed", "room_locked", "room_full", "denied", "token_expired",
    "draining", "timeout", "protocol_error", "slow_consumer", "moved",
]  # fmt: skip
"""Why the server ends a participant's stay."""


@dataclass(frozen=True, slots=True)
class ParticipantJoined:
    participant: ParticipantState
    transient: ClassVar[bool] = False


@dataclass(frozen=True, slots=True)
class ParticipantLeft:
    participant: ParticipantId
    reason: str
    "`left`, or a LeaveReason."
    transient: ClassVar[bool] = False


@dataclass(frozen=True, slots=True)
class ParticipantUpdated:
    """Name, metadata, attributes or the admin permission changed."""

    participant: ParticipantState
    transient: ClassVar[bool] = False


@dataclass(frozen=True, slots=True)
class PermissionsChanged:
    """Sent only to the participant whose permissions changed."""

    participant: ParticipantId
    permissions: Permissions
    transient: ClassVar[bool] = False


@dataclass(frozen=True, slots=True)
class TrackPublished:
    """A new publication, or a new description of a known one."""

    publication: PublicationState
    transient: ClassVar[bool] = False


@dataclass(frozen=True, slots=True)
class TrackUnpublished:
    participant: ParticipantId
    track: TrackId
    transient: ClassVar[bool] = False


@dataclass(frozen=True, slots=True)
class TrackMuted:
    """`publication.muted` says whether the track was muted or unmuted."""

    publication: PublicationState
    by: str
    "Id of the participant that did it; empty: the owner or an operator."
    transient: ClassVar[bool] = False


@dataclass(frozen=True, slots=True)
class SpeakersChanged:
    dominant: str
    "Participant id; empty: no speaker yet."
    speakers: tuple[tuple[str, float], ...]
    "Participant id and level, loudest first."
    transient: ClassVar[bool] = True


@dataclass(frozen=True, slots=True)
class QualityChanged:
    qualities: Mapping[ParticipantId, Quality]
    "Only the participants whose quality changed."
    rtt: float
    "Seconds, of the receiver of this event."
    loss: float
    "0 to 1, of the receiver of this event."
    transient: ClassVar[bool] = True


@dataclass(frozen=True, slots=True)
class ChatSent:
    entry: ChatEntry
    transient: ClassVar[bool] = False


@dataclass(frozen=True, slots=True)
class DataSent:
    entry: DataEntry
    kept: bool = False
    "The room keeps the message for late joiners."
    transient: ClassVar[bool] = False


@dataclass(frozen=True, slots=True)
class RoomUpdated:
    room: RoomState
    transient: ClassVar[bool] = False


@dataclass(frozen=True, slots=True)
class LobbyChanged:
    """Sent only to admins: all participants in the lobby."""

    waiting: tuple[WaitingState, ...]
    transient: ClassVar[bool] = False


Event = (
    ParticipantJoined
    | ParticipantLeft
    | ParticipantUpdated
    | PermissionsChanged
    | TrackPublished
    | TrackUnpublished
    | TrackMuted
    | SpeakersChanged
    | QualityChanged
    | ChatSent
    | DataSent
    | RoomUpdated
    | LobbyChanged
)


@dataclass(frozen=True, slots=True, eq=False)
class Delivery:
    """An event with its number in the room. All receivers of a broadcast get the same object."""

    number: int
    "Increases within a room; 0: a transient event, which is not sent again after a resume."
    event: Event


@dataclass(frozen=True, slots=True, eq=False)
class DataPacket:
    """A data-channel message from one participant to the others. All receivers get the same object."""

    sender: ParticipantId
    topic: str
    payload: bytes
    "A JSON value as UTF-8 text."
