"""Who waits at a room's door, in the order they came."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sfu.ids import ParticipantId
from sfu.rooms.participant import Profile

if TYPE_CHECKING:
    from sfu.rooms.events import ParticipantSink
    from sfu.rooms.room import Room


@dataclass(frozen=True, slots=True, eq=False)
class WaitingParticipant:
    """One who waits; `id` is the participant id it will have inside."""

    id: ParticipantId
    profile: Profile
    room: Room
    sink: ParticipantSink


class Lobby:
    __slots__ = ("_waiting",)

    def __init__(self) -> None:
        self._waiting: dict[ParticipantId, WaitingParticipant] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def __iter__(self) -> Iterator[WaitingParticipant]:
        return iter(tuple(self._waiting.values()))

    def add(self, waiting: WaitingParticipant) -> None:
        self._waiting[waiting.id] = waiting

    def remove(self, participant: str) -> WaitingParticipant | None:
        return self._waiting.pop(ParticipantId(participant), None)

    def find_by_identity(self, identity: str) -> WaitingParticipant | None:
        return next((one for one in self._waiting.values() if one.profile.identity == identity), None)
