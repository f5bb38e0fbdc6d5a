"""Turns what rooms, egress and ingest report into one ordered stream of events, and passes it to the sinks.

`observe_…` appends a value to a list and returns: a room never waits for a sink and never sees its errors. Later turns of the
event loop encode the events and pass them on, a few at a time.
"""

import asyncio
import logging
import secrets
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from typing import Protocol

from sfu.events.encoding import encode
from sfu.events.event import Content, EgressChanged, Event, EventName, IngressChanged, IngressEvent, RecordingChanged
from sfu.rooms.events import SpeakersChanged
from sfu.rooms.observer import (
    Joined,
    Left,
    Moderated,
    Observation,
    Published,
    RoomClosed,
    RoomMoved,
    RoomOpened,
    RoomRestored,
    RoomSummary,
    Unpublished,
)
from sfu.rooms.state import ParticipantState

log = logging.getLogger(__name__)

EVENTS_PER_TURN = 32
"""Events that are encoded and passed on in one turn of the event loop: less than 2 ms of work."""
MAX_PENDING = 50_000
"""Events that wait for their turn; the oldest is dropped. Only an event loop that hangs reaches it."""
MAX_SEQUENCES = 4_096
"""Rooms whose sequence number is kept; the one without events for the longest time starts again at 1."""
ABORTED = frozenset({"timeout", "protocol_error", "slow_consumer"})
"""Reasons of a leave for which LiveKit's `participant_connection_aborted` is sent before `participant_left`."""


class Sink(Protocol):
    def accept(self, event: Event) -> None:
        """Queues the event within a bound and returns at once."""


class EventStream:
    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        """`clock()`: seconds since 1970. Events before `open` are ignored."""
        self._clock = clock
        self.id = secrets.token_urlsafe(6)
        "Part of all event ids of this process."
        self.sinks: Sequence[Sink] = ()
        self.published = 0
        "Events since the start, without transient ones."
        self.dropped = 0
        self._sequences: OrderedDict[str, int] = OrderedDict()
        self._pending: deque[tuple[EventName, str, float, Content, RoomSummary | None]] = deque()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._scheduled = False

    def open(self) -> None:
        self._loop = asyncio.get_running_loop()

    def event_id(self, number: int) -> str:
        return f"EV_{self.id}_{number}"

    def number_of(self, identifier: str) -> int | None:
        """The number of one of this process's event ids; None: not one of them."""
        prefix, _, number = identifier.rpartition("_")
        if prefix != f"EV_{self.id}" or not (number.isascii() and number.isdigit()) or len(number) > 18:
            return None
        return int(number)

    # -- observers ------------------------------------------------------------------------------------------------

    def observe_room(self, summary: RoomSummary, observation: Observation) -> None:
        """A RoomObserver. Recorders of egress jobs, which are hidden, yield no events."""
        name: EventName
        match observation:
            case RoomOpened():
                name = "room_started"
            case RoomClosed():
                name = "room_finished"
            case RoomMoved():
                name = "room_moved"
            case RoomRestored():
                name = "room_restored"
            case SpeakersChanged():
                name = "speakers_changed"
            case Moderated():
                name = observation.action
            case Joined() | Left() | Published() | Unpublished() if _concealed(observation.participant):
                return
            case Joined():
                name = "participant_joined"
            case Left():
                name = "participant_left"
                if observation.reason in ABORTED:
                    self._add("participant_connection_aborted", summary.state.name, observation, summary)
            case Published():
                name = "track_published"
            case Unpublished():
                name = "track_unpublished"
        self._add(name, summary.state.name, observation, summary)

    def observe_egress(self, change: EgressChanged | RecordingChanged, *, started: bool) -> None:
        """`started`: the first report about this job or recording."""
        name: EventName
        match change:
            case RecordingChanged():
                name = "recording_finished" if change.finished else "recording_started"
            case EgressChanged() if started:
                name = "egress_started"
            case EgressChanged():
                name = "egress_ended" if change.ended_at else "egress_updated"
        self._add(name, change.room, change, None)

    def observe_ingress(self, event: IngressEvent, change: IngressChanged) -> None:
        self._add(event, change.room, change, None)

    def _add(self, name: EventName, room: str, content: Content, summary: RoomSummary | None) -> None:
        if self._loop is None:
            return
        if len(self._pending) >= MAX_PENDING:
            self._pending.popleft()
            self.dropped += 1
        self._pending.append((name, room, self._clock(), content, summary))
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._flush)

    # -- sinks ----------------------------------------------------------------------------------------------------

    def flush(self) -> None:
        """Passes all events on now; for a server that stops."""
        while self._pending:
            self._pass_on(EVENTS_PER_TURN)

    def _flush(self) -> None:
        self._scheduled = False
        self._pass_on(EVENTS_PER_TURN)
        if self._pending and not self._scheduled and self._loop is not None:
            self._scheduled = True
            self._loop.call_soon(self._flush)

    def _pass_on(self, count: int) -> None:
        for _ in range(min(count, len(self._pending))):
            event = self._event(*self._pending.popleft())
            for sink in self.sinks:
                try:
                    sink.accept(event)
                except Exception:
                    # The root of this work: a bug in one sink must not keep events from the others.
                    log.exception("event sink failed")

    def _event(self, name: EventName, room: str, at: float, content: Content, summary: RoomSummary | None) -> Event:
        if isinstance(content, SpeakersChanged):
            return Event(0, "", 0, name, room, at, content, summary, b"")
        self.published += 1
        sequence = self._sequences.pop(room, 0) + 1
        self._sequences[room] = sequence
        if len(self._sequences) > MAX_SEQUENCES:
            self._sequences.popitem(last=False)
        identifier = self.event_id(self.published)
        body = encode(name, identifier, sequence, at, content, summary)
        return Event(self.published, identifier, sequence, name, room, at, content, summary, body)


def _concealed(state: ParticipantState) -> bool:
    return state.permissions.hidden and state.permissions.recorder
