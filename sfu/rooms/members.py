"""The participants of a room, and the numbered broadcast of events to them."""

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

from sfu.ids import Identity, ParticipantId
from sfu.rooms.commands import Action
from sfu.rooms.events import Delivery, Event
from sfu.rooms.lobby import WaitingParticipant
from sfu.rooms.observer import Observation
from sfu.rooms.participant import Participant


class Mirror(Protocol):
    """Another node that mirrors the room."""

    def deliver(self, event: Event, receivers: Iterable[Participant] | None, exclude: Participant | None) -> None:
        """`receivers` None: all participants. Does not call back."""

    def left_lobby(self, waiting: WaitingParticipant) -> None:
        """A waiting participant left on its own."""


class Members:
    """All receivers of an event get the same Delivery. Numbers increase by one per non-transient event."""

    __slots__ = ("_by_identity", "_participants", "changed", "home", "mirrors", "number", "observe")

    def __init__(
        self,
        observe: Callable[[Observation], None] = lambda observation: None,
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        """`changed` is called whenever a snapshot of the room would differ."""
        self.observe = observe
        self.changed = changed
        self._participants: dict[ParticipantId, Participant] = {}
        self._by_identity: dict[Identity, Participant] = {}
        self.home: Callable[[Participant, Action], None] | None = None
        "Sends a participant's command to the home of the room, which is another node. Raises AtCapacity."
        self.mirrors: tuple[Mirror, ...] = ()
        self.number = 0
        "Number of the newest event."

    def __len__(self) -> int:
        return len(self._participants)

    def __iter__(self) -> Iterator[Participant]:
        return iter(tuple(self._participants.values()))

    @property
    def participant_count(self) -> int:
        """Participants that count towards the room's limit: all except hidden recorders."""
        return sum(not (one.permissions.hidden and one.permissions.recorder) for one in self._participants.values())

    @property
    def served_count(self) -> int:
        """Like `participant_count`, without those that other nodes serve."""
        return sum(
            not one.shadow and not (one.permissions.hidden and one.permissions.recorder)
            for one in self._participants.values()
        )

    def add_mirror(self, mirror: Mirror) -> None:
        self.mirrors = (*self.mirrors, mirror)

    def remove_mirror(self, mirror: Mirror) -> None:
        """Idempotent."""
        self.mirrors = tuple(one for one in self.mirrors if one is not mirror)

    def visible(self, *, exclude: Participant | None = None) -> list[Participant]:
        return [one for one in self._participants.values() if not one.permissions.hidden and one is not exclude]

    def find(self, participant: str) -> Participant | None:
        return self._participants.get(ParticipantId(participant))

    def find_by_identity(self, identity: str) -> Participant | None:
        return self._by_identity.get(Identity(identity))

    def add(self, participant: Participant) -> None:
        self._participants[participant.id] = participant
        self._by_identity[participant.identity] = participant
        self.changed()

    def remove(self, participant: Participant) -> bool:
        """False: the participant is not a member."""
        if self._participants.pop(participant.id, None) is None:
            return False
        del self._by_identity[participant.identity]
        self.changed()
        return True

    def broadcast(self, event: Event, *, exclude: Participant | None = None) -> None:
        self._send_to(self._participants.values(), event, exclude)
        for mirror in self.mirrors:
            mirror.deliver(event, None, exclude)

    def send_to(self, event: Event, *receivers: Participant) -> None:
        self._send_to(receivers, event, None)
        for mirror in self.mirrors:
            mirror.deliver(event, receivers, None)

    def send_to_admins(self, event: Event) -> None:
        self.send_to(event, *(one for one in self._participants.values() if one.permissions.admin))

    def next_number(self) -> int:
        """The number for an event that a session creates itself."""
        self.number += 1
        return self.number

    def _send_to(self, receivers: Iterable[Participant], event: Event, exclude: Participant | None) -> None:
        delivery = Delivery(0 if event.transient else self.next_number(), event)
        if not event.transient:
            self.changed()
        for participant in receivers:
            if participant is not exclude:
                participant.sink.deliver(delivery)
