"""Revoked tokens and participants, so that a kicked participant cannot rejoin with a token issued before the kick.

The number of entries is bounded. Beyond the limit, the entry that expires first is dropped and counted.
"""

import heapq
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class _Entry:
    revoked_at: float
    until: float


class Revocations:
    """Stores revocations until the tokens expire. All times are Unix times, as in tokens."""

    __slots__ = ("_entries", "_expiries", "_limit", "evicted")

    def __init__(self, limit: int = 10_000) -> None:
        self._limit = limit
        self._entries: dict[tuple[str, ...], _Entry] = {}
        self._expiries: list[tuple[float, tuple[str, ...]]] = []
        self.evicted = 0

    def __len__(self) -> int:
        return len(self._entries)

    def revoke_token(self, token_id: str, *, now: float, until: float) -> None:
        """Revokes one token until `until`, its expiry."""
        self._remember((token_id,), _Entry(now, until), now)

    def revoke_participant(self, room: str, identity: str, *, now: float, until: float) -> None:
        """Revokes the tokens of this identity for this room that were issued up to `now`. Newer tokens stay valid."""
        self._remember((room, identity), _Entry(now, until), now)

    def is_revoked(self, token_id: str, room: str, identity: str, issued_at: float, now: float) -> bool:
        token = self._entries.get((token_id,))
        if token is not None and now < token.until:
            return True
        participant = self._entries.get((room, identity))
        return participant is not None and now < participant.until and issued_at <= participant.revoked_at

    def _remember(self, key: tuple[str, ...], entry: _Entry, now: float) -> None:
        known = self._entries.get(key)
        if known is not None and known.until > entry.until:
            entry = _Entry(entry.revoked_at, known.until)
        self._entries[key] = entry
        heapq.heappush(self._expiries, (entry.until, key))
        self._forget(now)

    def _forget(self, now: float) -> None:
        while self._expiries and (self._expiries[0][0] <= now or len(self._entries) > self._limit):
            until, key = heapq.heappop(self._expiries)
            entry = self._entries.get(key)
            # An extended entry has another, later item in the heap.
            if entry is None or entry.until != until:
                continue
            del self._entries[key]
            if until > now:
                self.evicted += 1
        if len(self._expiries) > 2 * self._limit + 16:
            self._expiries = [(entry.until, key) for key, entry in self._entries.items()]
            heapq.heapify(self._expiries)
