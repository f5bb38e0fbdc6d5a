"""Values that a room reports to an observer outside of it, such as the event stream.

Observations hold whole snapshots, unlike the events for participants (events.py). They include hidden participants and
moderation.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from sfu.rooms.events import SpeakersChanged
from sfu.rooms.state import ParticipantState, PublicationState, RoomState, WaitingState

ModerationAction = Literal[
    "participant_waiting", "participant_admitted", "participant_denied", "participant_removed",
    "participant_permissions_changed", "track_muted", "room_updated",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class RoomSummary:
    state: RoomState
    participants: int
    "Without hidden recorders."
    publishers: int


@dataclass(frozen=True, slots=True)
class RoomOpened:
    pass


@dataclass(frozen=True, slots=True)
class RoomClosed:
    reason: str


@dataclass(frozen=True, slots=True)
class RoomMoved:
    """Another node continues the room. Its participants have not left."""


@dataclass(frozen=True, slots=True)
class RoomRestored:
    """This node continues a room of another node."""

    participants: tuple[ParticipantState, ...]


@dataclass(frozen=True, slots=True)
class Joined:
    participant: ParticipantState


@dataclass(frozen=True, slots=True)
class Left:
    participant: ParticipantState
    reason: str
    "`left`, or a LeaveReason."


@dataclass(frozen=True, slots=True)
class Published:
    participant: ParticipantState
    publication: PublicationState


@dataclass(frozen=True, slots=True)
class Unpublished:
    participant: ParticipantState
    publication: PublicationState


@dataclass(frozen=True, slots=True)
class Moderated:
    action: ModerationAction
    by: str
    "Identity of the admin; empty: an operator, or the participant itself."
    participant: ParticipantState | WaitingState | None = None
    publication: PublicationState | None = None


Observation = (
    RoomOpened
    | RoomClosed
    | RoomMoved
    | RoomRestored
    | Joined
    | Left
    | Published
    | Unpublished
    | Moderated
    | SpeakersChanged
)
RoomObserver = Callable[[RoomSummary, Observation], None]
"""Rooms call it from within their own methods: it queues, does not raise, and does not call back into the room."""
