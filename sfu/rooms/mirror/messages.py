"""Messages between the home of a room and its edges: frozen values, delivered in order.

A link that lost a message starts again with `Attach`, which the home answers with the whole state.
"""

from dataclasses import dataclass

from sfu.ids import ParticipantId
from sfu.rooms.commands import Action
from sfu.rooms.events import DataPacket, Event, LeaveReason
from sfu.rooms.participant import Profile
from sfu.rooms.snapshot import RoomSnapshot
from sfu.rooms.state import ParticipantState, WaitingState


@dataclass(frozen=True, slots=True)
class Update:
    """An event of the room, in both directions."""

    event: Event
    to: tuple[ParticipantId, ...] | None = None
    "Its receivers; None: all participants."
    exclude: str = ""
    "The participant that caused it and gets no event; empty: none."


@dataclass(frozen=True, slots=True)
class Packet:
    """A data-channel message, once per node."""

    packet: DataPacket
    reliable: bool


# -- edge to home -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Waiting:
    """A client of an edge that waits in the lobby."""

    participant: ParticipantId
    profile: Profile


@dataclass(frozen=True, slots=True)
class Attach:
    """The first message of an edge, and the first after a lost one: all participants that it serves, and its clients in the
    lobby."""

    participants: tuple[ParticipantState, ...] = ()
    waiting: tuple[Waiting, ...] = ()
    merged: RoomSnapshot | None = None
    "The edge was the home of the room on the other side of a partition: what happened there."


@dataclass(frozen=True, slots=True)
class Detach:
    """The edge serves no participant of the room any more."""


@dataclass(frozen=True, slots=True)
class Enter:
    """A client asks an edge to join."""

    request: int
    profile: Profile


@dataclass(frozen=True, slots=True)
class LeaveLobby:
    participant: ParticipantId


@dataclass(frozen=True, slots=True)
class Command:
    """A participant of an edge asks for a decision. The edge has checked its permissions; the home checks again.

    The edge sends it again after a lost link, also to the next home, until it is answered by `Decided`.
    """

    number: int
    "Increases by one with each command of the edge."
    actor: ParticipantId
    action: Action


# -- home to edge -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class State:
    """The answer to `Attach`: the whole room."""

    room: RoomSnapshot
    waiting: tuple[WaitingState, ...]


@dataclass(frozen=True, slots=True)
class Applied:
    """The home has applied an `Update` of the edge, or refused it. One for each, in their order."""


@dataclass(frozen=True, slots=True)
class Decided:
    """The home has executed the command with this number, or refused it."""

    number: int


@dataclass(frozen=True, slots=True)
class Entered:
    """The answer to `Enter`: a member, a waiting participant, or an error."""

    request: int
    participant: ParticipantState | None = None
    waiting: WaitingState | None = None
    code: str = ""
    message: str = ""


@dataclass(frozen=True, slots=True)
class Removed:
    """A participant of the edge is no longer in the room or in its lobby."""

    participant: ParticipantId
    reason: LeaveReason
    message: str


@dataclass(frozen=True, slots=True)
class Admitted:
    """A waiting participant of the edge is a member now."""

    participant: ParticipantState


EdgeMessage = Attach | Detach | Enter | LeaveLobby | Command | Update | Packet
HomeMessage = State | Applied | Decided | Entered | Removed | Admitted | Update | Packet
