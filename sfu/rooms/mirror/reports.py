"""Reports and commands of an edge, until the home has answered them."""

from collections import Counter, deque
from collections.abc import Iterator

from sfu.errors import AtCapacity
from sfu.ids import ParticipantId
from sfu.rooms.commands import Action
from sfu.rooms.events import (
    Event,
    ParticipantLeft,
    ParticipantUpdated,
    TrackMuted,
    TrackPublished,
    TrackUnpublished,
)
from sfu.rooms.mirror.messages import Command
from sfu.rooms.participant import Participant

REPORTED = (ParticipantLeft, ParticipantUpdated, TrackPublished, TrackUnpublished, TrackMuted)
"""Events of an own participant that the home applies."""
REPORTS_LIMIT = 10_000
COMMANDS_LIMIT = 1_000


class Reports:
    """The home acknowledges reports in their order. Until then, an older event of the home about the same thing is void."""

    def __init__(self) -> None:
        self._unacknowledged: deque[str] = deque()
        self._pending: Counter[str] = Counter()
        self.overflowed = False
        "The home does not answer, and reports are lost: the owner of the link attaches again."

    def add(self, event: Event) -> bool:
        """False: too many are unacknowledged."""
        if len(self._unacknowledged) >= REPORTS_LIMIT:
            self.overflowed = True
            return False
        key = _key(event)
        self._unacknowledged.append(key)
        self._pending[key] += 1
        return True

    def acknowledge(self) -> None:
        """The home has applied the oldest report."""
        if self._unacknowledged:
            key = self._unacknowledged.popleft()
            self._pending[key] -= 1
            if not self._pending[key]:
                del self._pending[key]

    def override(self, event: Event) -> bool:
        """An unacknowledged report is newer than this event of the home."""
        return self._pending[_key(event)] > 0

    def clear(self) -> None:
        """The link starts again with the whole state."""
        self._unacknowledged.clear()
        self._pending.clear()
        self.overflowed = False


class Commands:
    """Commands that the home has not executed yet. They are sent again over the next link, also to another home."""

    def __init__(self) -> None:
        self._waiting: deque[Command] = deque()
        self._number = 0

    def __iter__(self) -> Iterator[Command]:
        return iter(tuple(self._waiting))

    def add(self, actor: Participant, action: Action) -> Command:
        """Raises AtCapacity when the home does not answer."""
        if len(self._waiting) >= COMMANDS_LIMIT:
            raise AtCapacity(
                "This server is cut off from the one of this room. Try again in some seconds.", code="cut_off"
            )
        self._number += 1
        command = Command(self._number, actor.id, action)
        self._waiting.append(command)
        return command

    def decided(self, number: int) -> None:
        """The home has executed all commands up to this one, or refused them."""
        while self._waiting and self._waiting[0].number <= number:
            self._waiting.popleft()


def subject(event: Event) -> ParticipantId:
    """The participant whose own action the event is; empty: another kind of event."""
    match event:
        case ParticipantLeft(participant) | TrackUnpublished(participant):
            return participant
        case ParticipantUpdated(state):
            return state.id
        case TrackPublished(publication) | TrackMuted(publication):
            return publication.owner
    return ParticipantId("")


def _key(event: Event) -> str:
    """Names what the event changes."""
    match event:
        case ParticipantLeft(participant):
            return f"left {participant}"
        case TrackMuted(publication):
            return publication.id
        case ParticipantUpdated(state):
            return state.id
    return ""
