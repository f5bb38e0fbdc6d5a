"""Chat and data messages that a room keeps for late joiners.

A history is bounded by entries and by bytes; the oldest entry is dropped first.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatEntry:
    id: str
    participant: str
    name: str
    text: str
    at: float
    "Seconds since 1970."
    to: str = ""
    "Participant id of the receiver of a private message; empty: public."


@dataclass(frozen=True, slots=True, kw_only=True)
class DataEntry:
    participant: str
    "Sender; empty: the operator."
    topic: str
    payload: str
    at: float
    "Seconds since 1970."


Entry = TypeVar("Entry")


class History(Generic[Entry]):
    __slots__ = ("_bytes", "_entries", "_max_bytes", "_max_entries")

    def __init__(self, max_entries: int, max_bytes: int) -> None:
        self._entries: deque[tuple[Entry, int]] = deque()
        self._bytes = 0
        self._max_entries = max_entries
        self._max_bytes = max_bytes

    def __iter__(self) -> Iterator[Entry]:
        return (entry for entry, _ in self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def newest(self) -> Entry | None:
        return self._entries[-1][0] if self._entries else None

    def clear(self) -> None:
        self._entries.clear()
        self._bytes = 0

    def add(self, entry: Entry, size_bytes: int) -> None:
        self._entries.append((entry, size_bytes))
        self._bytes += size_bytes
        while self._entries and (len(self._entries) > self._max_entries or self._bytes > self._max_bytes):
            self._bytes -= self._entries.popleft()[1]
