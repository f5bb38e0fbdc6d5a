"""The lobby of a room: participants that wait for an admin, in the order of arrival."""

from collections.abc import Iterator
from dataclasses import dataclass

from sfu.ids import ParticipantId, RoomName
from sfu.rooms.participant import ParticipantSink, Profile
from sfu.rooms.state import WaitingState


@dataclass(frozen=True, slots=True, eq=False)
class WaitingParticipant:
    """`id` becomes the participant id after admission."""

    id: ParticipantId
    profile: Profile
    room: RoomName
    sink: ParticipantSink

    @property
    def state(self) -> WaitingState:
        return WaitingState(self.id, self.profile.identity, self.profile.name)


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
