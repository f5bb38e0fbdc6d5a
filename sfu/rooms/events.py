"""What participants are told, and the port through which they are told.

Events point at the live records: a sink reads (encodes) them within `deliver` and keeps none. A broadcast hands the
same `Delivery` to every sink, so that what it is encoded to is made once and kept on it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal, Protocol

from sfu.ids import ParticipantId, TrackId

if TYPE_CHECKING:
    from sfu.rooms.lobby import WaitingParticipant
    from sfu.rooms.media_stats import MediaStats
    from sfu.rooms.messages import ChatEntry, DataEntry
    from sfu.rooms.participant import Participant
    from sfu.rooms.publication import Publication
    from sfu.rooms.quality import Link, Quality
    from sfu.rooms.room import Room

LeaveReason = Literal[
    "kicked", "duplicate_identity", "room_closed", "room_locked", "room_full", "denied", "token_expired",
    "draining", "timeout", "protocol_error", "slow_consumer",
]  # fmt: skip
"""Why somebody has to go."""


@dataclass(frozen=True, slots=True)
class ParticipantJoined:
    participant: Participant
    transient: ClassVar[bool] = False


@dataclass(frozen=True, slots=True)
class ParticipantLeft:
    participant: ParticipantId
    reason: str
    "`left`, or a LeaveReason."
    transient: ClassVar[bool] = False


@dataclass(frozen=True, slots=True)
class ParticipantUpdated:
    participant: Participant
    transient: ClassVar[bool] = False


@dataclass(frozen=True, slots=True)
class PermissionsChanged:
    """To the participant itself."""

    participant: Participant
    transient: ClassVar[bool] = False


@dataclass(frozen=True, slots=True)
class TrackPublished:
    """New, or (a known id) described anew."""

    publication: Publication
    transient: ClassVar[bool] = False


@dataclass(frozen=True, slots=True)
class TrackUnpublished:
    participant: ParticipantId
    track: TrackId
    transient: ClassVar[bool] = False


@dataclass(frozen=True, slots=True)
class TrackMuted:
    publication: Publication
    by: str
    "Participant id of who did it if it was not the owner; empty as well if it was an operator."
    transient: ClassVar[bool] = False


@dataclass(frozen=True, slots=True)
class SpeakersChanged:
    dominant: str
    speakers: tuple[tuple[str, float], ...]
    "Participant id and level, loudest first."
    transient: ClassVar[bool] = True


@dataclass(frozen=True, slots=True)
class QualityChanged:
    qualities: Mapping[ParticipantId, Quality]
    "Only those that changed."
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
    transient: ClassVar[bool] = False


@dataclass(frozen=True, slots=True)
class RoomUpdated:
    room: Room
    transient: ClassVar[bool] = False


@dataclass(frozen=True, slots=True)
class LobbyChanged:
    """To admins."""

    waiting: tuple[WaitingParticipant, ...]
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


@dataclass(slots=True, eq=False)
class Delivery:
    """An event on its way, shared by all who get it."""

    number: int
    "Grows within a room; 0: momentary, not to be sent again after a pause."
    event: Event
    encoded: bytes | None = None
    "What the first sink made of it, for the others to use."


class ParticipantSink(Protocol):
    """The far end of a participant: a signalling session, a WHIP resource, a recorder.

    Called from within room methods: an implementation queues, and does not call back into the room.
    """

    def deliver(self, delivery: Delivery) -> None: ...

    def relay_data(self, text: str, *, reliable: bool) -> None:
        """A data-channel message of another participant."""

    def admitted(self, participant: Participant) -> None:
        """The lobby's door opened."""

    def removed(self, reason: LeaveReason, message: str) -> None:
        """The room (or its lobby) is left already; `message` is one sentence for the person."""

    def links(self) -> Sequence[Link]:
        """How its connections do; empty when there are none."""

    def media_stats(self) -> MediaStats | None:
        """Why its media are as they are; None where nobody keeps a diary."""
