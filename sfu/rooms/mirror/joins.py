"""Joins of an edge's clients: asked of the home, answered, and then taken by their clients."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from sfu.errors import RemoteError
from sfu.ids import ParticipantId
from sfu.rooms.mirror.messages import Entered
from sfu.rooms.participant import Profile
from sfu.rooms.permissions import Permissions
from sfu.rooms.state import ParticipantState, WaitingState


class Refused(RemoteError):
    """The home refused a join."""


@dataclass(slots=True)
class Join:
    """A request to join. At most one of the three answers is set."""

    profile: Profile
    participant: ParticipantState | None = None
    waiting: WaitingState | None = None
    error: Refused | None = None

    @property
    def answered(self) -> bool:
        return self.participant is not None or self.waiting is not None or self.error is not None

    @property
    def id(self) -> ParticipantId | None:
        """The participant id that the home gave."""
        if self.participant is not None:
            return self.participant.id
        return self.waiting.id if self.waiting is not None else None

    def refuse(self, message: str, code: str) -> None:
        self.participant = self.waiting = None
        self.error = Refused(message, code=code)


class Joins:
    """Bounded by the clients that join: each holds an open connection, and abandons its join when it is gone."""

    def __init__(self) -> None:
        self._joins: dict[int, Join] = {}

    def __len__(self) -> int:
        return len(self._joins)

    def __iter__(self) -> Iterator[tuple[int, Join]]:
        return iter(self._joins.items())

    def add(self, request: int, profile: Profile) -> None:
        self._joins[request] = Join(profile)

    def get(self, request: int) -> Join | None:
        return self._joins.get(request)

    def remove(self, request: int) -> Join | None:
        return self._joins.pop(request, None)

    def answer(self, message: Entered) -> bool:
        """False: the client is gone already."""
        join = self._joins.get(message.request)
        if join is None:
            return False
        join.participant, join.waiting = message.participant, message.waiting
        if message.code:
            join.refuse(message.message, message.code)
        return True

    def members(self) -> set[ParticipantId]:
        """Members of the room whose clients have not taken their joins yet."""
        return {join.participant.id for join in self._joins.values() if join.participant is not None}

    def find(self, participant: str) -> Join | None:
        return next((join for join in self._joins.values() if join.id == participant), None)

    def update(self, state: ParticipantState) -> None:
        join = self.find(state.id)
        if join is not None and join.participant is not None:
            join.participant = state

    def permit(self, participant: ParticipantId, permissions: Permissions) -> None:
        join = self.find(participant)
        if join is not None and join.participant is not None:
            join.participant = replace(join.participant, permissions=permissions)

    def admit(self, state: ParticipantState) -> None:
        """A waiting one is a member now."""
        join = self.find(state.id)
        if join is not None:
            join.waiting, join.participant = None, state
