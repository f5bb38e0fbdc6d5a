"""Participants of a restored room whose clients have not returned yet.

When another node takes a room over, its participants are members at once, so that the others see no one leave and join.
Each is away until its client presents its resume key, and leaves with the reason `timeout` otherwise.
"""

from collections.abc import Iterator, Sequence

from sfu.ids import ParticipantId
from sfu.rooms.events import DataPacket, Delivery, LeaveReason
from sfu.rooms.media_stats import MediaStats
from sfu.rooms.participant import Participant
from sfu.rooms.quality import Link


class AwaySink:
    """The ParticipantSink of a participant that is away. Its client reads the whole state when it returns."""

    __slots__ = ()

    def deliver(self, delivery: Delivery) -> None:
        pass

    def relay_data(self, packet: DataPacket, *, reliable: bool) -> None:
        pass

    def admitted(self, participant: Participant) -> None:
        pass

    def removed(self, reason: LeaveReason, message: str) -> None:
        pass

    def links(self) -> Sequence[Link]:
        return ()

    def media_stats(self) -> MediaStats | None:
        return None


class AwayParticipants:
    """Bounded by the members of the room: participants are added by a restore only."""

    __slots__ = ("_participants", "until")

    def __init__(self) -> None:
        self._participants: dict[ParticipantId, Participant] = {}
        self.until: float | None = None
        "Monotonic seconds at which they leave; None: the timer has not seen them yet."

    def __len__(self) -> int:
        return len(self._participants)

    def __iter__(self) -> Iterator[Participant]:
        return iter(tuple(self._participants.values()))

    def add(self, participant: Participant) -> None:
        self._participants[participant.id] = participant

    def remove(self, participant: ParticipantId) -> Participant | None:
        """None: it is not away."""
        return self._participants.pop(participant, None)
