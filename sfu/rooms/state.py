"""Frozen snapshots of rooms, participants and publications.

Events carry these values instead of the live records. They hold ids, strings and numbers only, so they can be kept,
encoded by any dialect, and sent to another node.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from sfu.ids import Identity, ParticipantId, RoomName, TrackId
from sfu.rooms.egress_status import EgressStatus
from sfu.rooms.permissions import Permissions
from sfu.rooms.track_description import TrackDescription

ParticipantKind = Literal["standard", "ingress"]
"""`ingress`: an encoder that sends media without WebRTC signalling."""


@dataclass(frozen=True, slots=True)
class PublicationState:
    id: TrackId
    owner: ParticipantId
    kind: Literal["audio", "video"]
    codec: str
    "MIME subtype, e.g. `VP8`."
    description: TrackDescription
    muted: bool


@dataclass(frozen=True, slots=True)
class ParticipantState:
    id: ParticipantId
    identity: Identity
    name: str
    metadata: str
    attributes: Mapping[str, str]
    permissions: Permissions
    joined_at: float
    "Seconds since 1970."
    publications: tuple[PublicationState, ...]
    "Oldest first."
    kind: ParticipantKind = "standard"
    auto_subscribe: bool = True
    node: str = ""
    "In a room on several nodes: the edge that serves the participant; empty: the home."


@dataclass(frozen=True, slots=True)
class WaitingState:
    """A participant in the lobby."""

    id: ParticipantId
    identity: Identity
    name: str


@dataclass(frozen=True, slots=True)
class RoomState:
    name: RoomName
    id: str
    metadata: str
    locked: bool
    lobby_enabled: bool
    created_at: float
    "Seconds since 1970."
    egress: EgressStatus
