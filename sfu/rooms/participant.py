"""A participant is a record; the nouns that it holds carry the behaviour."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sfu.ids import Identity, ParticipantId, TrackId
from sfu.rooms.permissions import Permissions
from sfu.rooms.publication import Publication
from sfu.rooms.subscriptions import Subscriptions

if TYPE_CHECKING:
    from sfu.rooms.events import ParticipantSink
    from sfu.rooms.room import Room


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """Who asks to enter, as the token and the join message say."""

    identity: Identity
    permissions: Permissions
    name: str = ""
    metadata: str = ""
    attributes: Mapping[str, str] = field(default_factory=dict)
    auto_subscribe: bool = True
    may_create: bool = False
    "Whether a room that is not there is made for this one."


@dataclass(slots=True, eq=False)
class Participant:
    """One stay of an identity in a room."""

    id: ParticipantId
    identity: Identity
    room: Room
    sink: ParticipantSink
    permissions: Permissions
    name: str
    metadata: str
    attributes: dict[str, str]
    joined_at: float
    "Seconds since 1970."
    subscriptions: Subscriptions
    publications: dict[TrackId, Publication] = field(default_factory=dict)
