"""Fakes of the rooms' ports, and a RoomsFixture."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from sfu.ids import Identity, TrackId
from sfu.rooms.events import DataPacket, Delivery, LeaveReason
from sfu.rooms.lobby import WaitingParticipant
from sfu.rooms.participant import Participant, Profile
from sfu.rooms.permissions import Permissions
from sfu.rooms.ports import MediaSource, SubscriptionSettings
from sfu.rooms.registry import Rooms
from sfu.rooms.room import Room
from sfu.rooms.settings import Settings


@dataclass(frozen=True)
class FakeLink:
    rtt: float | None = 0.02
    loss: float = 0.0
    silent_for: float = 0.0
    connected: bool = True


@dataclass(eq=False)
class FakeMedia:
    """A MediaSink that records its calls."""

    calls: list[tuple[Any, ...]] = field(default_factory=list)

    def subscribe(self, track: TrackId, source: MediaSource, settings: SubscriptionSettings) -> None:
        self.calls.append(("subscribe", track, settings))

    def update(self, track: TrackId, settings: SubscriptionSettings) -> None:
        self.calls.append(("update", track, settings))

    def unsubscribe(self, track: TrackId) -> None:
        self.calls.append(("unsubscribe", track))


@dataclass(eq=False)
class FakeSink:
    """A ParticipantSink that keeps what it gets."""

    deliveries: list[Delivery] = field(default_factory=list)
    relayed: list[DataPacket] = field(default_factory=list)
    participant: Participant | None = None
    removal: tuple[str, str] | None = None
    its_links: tuple[FakeLink, ...] = ()

    def deliver(self, delivery: Delivery) -> None:
        self.deliveries.append(delivery)

    def relay_data(self, packet: DataPacket, *, reliable: bool) -> None:
        self.relayed.append(packet)

    def admitted(self, participant: Participant) -> None:
        self.participant = participant

    def removed(self, reason: LeaveReason, message: str) -> None:
        self.removal = (reason, message)

    def links(self) -> tuple[FakeLink, ...]:
        return self.its_links

    def media_stats(self) -> None:
        return None

    def take(self) -> list[str]:
        """Names of the events since the last look."""
        taken, self.deliveries = self.deliveries, []
        return [type(delivery.event).__name__ for delivery in taken]

    @property
    def last(self) -> Any:
        return self.deliveries[-1].event


def counting_ids() -> Callable[[str], str]:
    counts: dict[str, int] = {}

    def make(prefix: str) -> str:
        counts[prefix] = counts.get(prefix, 0) + 1
        return f"{prefix}_{counts[prefix]}"

    return make


def profile(identity: str, **fields: Any) -> Profile:
    permissions = Permissions(**{key: fields.pop(key) for key in list(fields) if hasattr(Permissions, key)})
    return Profile(identity=Identity(identity), permissions=permissions, **({"name": identity} | fields))


class RoomsFixture:
    """Rooms; participants join `standup` by default."""

    def __init__(self, changed: Callable[[str], None] = lambda name: None, **settings: Any) -> None:
        self.time = 1_767_225_600.0
        self.ids = counting_ids()
        self.rooms = Rooms(Settings(**settings), self.ids, lambda: self.time, changed=changed)
        self.room: Room
        "The room of the last join, also after it was closed."

    def join(self, identity: str, room: str = "standup", **fields: Any) -> Participant:
        entry = self.rooms.join(room, profile(identity, **fields), FakeSink())
        assert isinstance(entry, Participant)
        self.room = self.rooms.find(room)
        return entry

    def wait(self, identity: str, room: str = "standup", **fields: Any) -> WaitingParticipant:
        entry = self.rooms.join(room, profile(identity, **fields), FakeSink())
        assert isinstance(entry, WaitingParticipant)
        self.room = self.rooms.find(room)
        return entry


def sink_of(entry: Participant | WaitingParticipant) -> FakeSink:
    assert isinstance(entry.sink, FakeSink)
    return entry.sink
