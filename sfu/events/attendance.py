"""Attendance: who was in a room, from when to when, and how long each person spoke. Built from the event stream.

A stay counts as speech while the speaker detector lists the participant.
"""

import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from sfu.events.event import Event
from sfu.rooms.events import SpeakersChanged
from sfu.rooms.observer import Joined, Left, RoomClosed, RoomMoved, RoomOpened, RoomRestored
from sfu.rooms.state import ParticipantState

MAX_ENDED_STAYS = 50_000
"""Stays in rooms that have ended, over all rooms; the room that ended first is dropped."""


@dataclass(frozen=True, slots=True)
class Stay:
    """One stay of a person in a room. Times are seconds since 1970."""

    participant: str
    identity: str
    name: str
    joined_at: float
    left_at: float
    "0: still in the room."
    reason: str
    spoke: float
    "Seconds."


@dataclass(frozen=True, slots=True)
class Meeting:
    """One life of a room, from its start to its end."""

    room: str
    room_id: str
    started_at: float
    ended_at: float
    "0: not ended."
    stays: Sequence[Stay]
    "In the order of joining."
    dropped: int
    "Older stays that were dropped."


@dataclass(slots=True)
class _OpenStay:
    participant: str
    identity: str
    name: str
    joined_at: float
    spoke: float = 0.0
    speaking_since: float | None = None

    def at(self, now: float, left_at: float = 0.0, reason: str = "") -> Stay:
        speaking = max(0.0, now - self.speaking_since) if self.speaking_since is not None else 0.0
        spoke = round(self.spoke + speaking, 1)
        return Stay(self.participant, self.identity, self.name, self.joined_at, left_at, reason, spoke)


@dataclass(slots=True)
class _Record:
    room: str
    room_id: str
    started_at: float
    ended_at: float = 0.0
    dropped: int = 0
    present: dict[str, _OpenStay] = field(default_factory=dict)
    past: deque[Stay] = field(default_factory=deque)


class Attendance:
    """A Sink."""

    def __init__(self, stays: int, keep: float, clock: Callable[[], float] = time.time) -> None:
        """`stays`: maximum past stays per room. `keep`: seconds that a room is kept after its end."""
        self._stays = stays
        self._keep = keep
        self._clock = clock
        self._open: dict[str, _Record] = {}
        "By room id."
        self._ended: OrderedDict[str, _Record] = OrderedDict()
        self._ended_stays = 0

    def accept(self, event: Event) -> None:
        content, summary = event.content, event.summary
        if summary is None or event.name == "participant_connection_aborted":
            return
        room_id = summary.state.id
        record = self._open.get(room_id)
        match content:
            case RoomOpened():
                self._open[room_id] = _Record(event.room, room_id, event.at)
            case RoomRestored():
                record = self._open[room_id] = _Record(event.room, room_id, summary.state.created_at)
                for state in content.participants:
                    _joined(record, state, state.joined_at)
            case Joined() if record is not None:
                _joined(record, content.participant, event.at)
            case Left() if record is not None:
                self._leave(record, content.participant.id, event.at, content.reason)
            case SpeakersChanged() if record is not None:
                _speakers(record, {participant for participant, _ in content.speakers}, event.at)
            case RoomClosed() | RoomMoved() if record is not None:
                self._end(record, event.at)
        self._expire()

    def meetings(self, room: str) -> list[Meeting]:
        """Meetings in a room of this name, the newest first."""
        self._expire()
        records = [one for one in (*self._ended.values(), *self._open.values()) if one.room == room]
        return [self._meeting(record) for record in reversed(records)]

    def _meeting(self, record: _Record) -> Meeting:
        now = self._clock()
        stays = [*record.past, *(stay.at(now) for stay in record.present.values())]
        stays.sort(key=lambda stay: stay.joined_at)
        return Meeting(record.room, record.room_id, record.started_at, record.ended_at, stays, record.dropped)

    def _leave(self, record: _Record, participant: str, at: float, reason: str) -> None:
        stay = record.present.pop(participant, None)
        if stay is None:
            return
        record.past.append(stay.at(at, at, reason))
        if len(record.past) > self._stays:
            record.past.popleft()
            record.dropped += 1

    def _end(self, record: _Record, at: float) -> None:
        for participant in list(record.present):
            self._leave(record, participant, at, "room_closed")
        del self._open[record.room_id]
        record.ended_at = at
        self._ended[record.room_id] = record
        self._ended_stays += len(record.past)

    def _expire(self) -> None:
        while self._ended:
            record = next(iter(self._ended.values()))
            if record.ended_at + self._keep > self._clock() and self._ended_stays <= MAX_ENDED_STAYS:
                return
            del self._ended[record.room_id]
            self._ended_stays -= len(record.past)


def _joined(record: _Record, state: ParticipantState, at: float) -> None:
    record.present[state.id] = _OpenStay(state.id, state.identity, state.name or state.identity, at)


def _speakers(record: _Record, speaking: set[str], at: float) -> None:
    for participant, stay in record.present.items():
        if participant in speaking and stay.speaking_since is None:
            stay.speaking_since = at
        elif participant not in speaking and stay.speaking_since is not None:
            stay.spoke += max(0.0, at - stay.speaking_since)
            stay.speaking_since = None


def rows(meetings: Sequence[Meeting]) -> Iterator[tuple[str, ...]]:
    """A table for spreadsheets, its head first. Texts that a spreadsheet would run as a formula get an apostrophe."""
    yield ("room", "room_id", "identity", "name", "participant", "joined_at", "left_at", "seconds", "spoke", "reason")
    for meeting in meetings:
        for stay in meeting.stays:
            until = stay.left_at or time.time()
            yield tuple(
                _harmless(text)
                for text in (
                    meeting.room,
                    meeting.room_id,
                    stay.identity,
                    stay.name,
                    stay.participant,
                    _iso(stay.joined_at),
                    _iso(stay.left_at) if stay.left_at else "",
                    f"{until - stay.joined_at:.0f}",
                    f"{stay.spoke:.1f}",
                    stay.reason,
                )
            )


def _iso(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def _harmless(text: str) -> str:
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text
