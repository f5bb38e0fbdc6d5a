"""A participant of a room, and the port through which the room reaches it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from sfu.ids import Identity, ParticipantId, RoomName, TrackId
from sfu.rooms.events import DataPacket, Delivery, LeaveReason
from sfu.rooms.media_stats import MediaStats
from sfu.rooms.permissions import Permissions
from sfu.rooms.publication import Publication
from sfu.rooms.quality import Link
from sfu.rooms.state import ParticipantKind, ParticipantState
from sfu.rooms.subscriptions import Subscriptions


class ParticipantSink(Protocol):
    """The remote end of a participant: a signalling session, a WHIP resource, a recorder.

    Rooms call it from within their own methods. An implementation queues, and does not call back into the room.
    """

    def deliver(self, delivery: Delivery) -> None: ...

    def relay_data(self, packet: DataPacket, *, reliable: bool) -> None: ...

    def admitted(self, participant: Participant) -> None:
        """An admin admitted the participant from the lobby."""

    def removed(self, reason: LeaveReason, message: str) -> None:
        """The participant is no longer in the room or its lobby. `message` is one sentence for the person."""

    def links(self) -> Sequence[Link]:
        """State of its connections; empty when there are none."""

    def media_stats(self) -> MediaStats | None:
        """Media statistics and the decision log; None: this sink keeps none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """A request to join, from the token and the join message."""

    identity: Identity
    permissions: Permissions
    name: str = ""
    metadata: str = ""
    attributes: Mapping[str, str] = field(default_factory=dict)
    auto_subscribe: bool = True
    may_create: bool = False
    "Whether the join creates a room that does not exist."
    kind: ParticipantKind = "standard"
    invited: bool = False
    "An operator let this participant in: lock and lobby do not apply."
    shadow_of: str = ""
    "Id of the edge that serves the participant; empty: this node."


@dataclass(slots=True, eq=False)
class Participant:
    """One stay of an identity in a room. A record: Session, Publication and Subscriptions carry the behaviour."""

    id: ParticipantId
    identity: Identity
    room: RoomName
    sink: ParticipantSink
    permissions: Permissions
    name: str
    metadata: str
    attributes: Mapping[str, str]
    "Replaced on a change, never modified: events share it."
    joined_at: float
    "Seconds since 1970."
    subscriptions: Subscriptions
    kind: ParticipantKind = "standard"
    shadow: bool = False
    "Another node serves this participant. It receives no media from this one."
    node: str = ""
    "At the home and at other edges: the edge that serves the participant."
    publications: dict[TrackId, Publication] = field(default_factory=dict)
    _state: ParticipantState | None = field(default=None, init=False, repr=False)

    @property
    def state(self) -> ParticipantState:
        """The same object until something changes: a join reads the state of every participant in the room."""
        state = self._state
        publications = tuple([publication.state for publication in self.publications.values()])
        if (
            state is None
            or state.name is not self.name
            or state.metadata is not self.metadata
            or state.attributes is not self.attributes
            or state.permissions is not self.permissions
            or state.node != self.node
            or state.auto_subscribe is not self.subscriptions.auto_subscribe
            or state.publications != publications
        ):
            state = self._state = ParticipantState(
                self.id,
                self.identity,
                self.name,
                self.metadata,
                self.attributes,
                self.permissions,
                self.joined_at,
                publications,
                self.kind,
                self.subscriptions.auto_subscribe,
                self.node,
            )
        return state
