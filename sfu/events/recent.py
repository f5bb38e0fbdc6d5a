"""The newest events in memory, for readers that follow the stream or resume it."""

import asyncio
from collections import deque
from collections.abc import Sequence

from sfu.events.event import Event

EVENT_OVERHEAD = 600
"""Bytes of an event beside its body."""


class RecentEvents:
    """A Sink. Readers keep the number of the last event they have; a slow one costs no memory."""

    def __init__(self, count: int, size: int) -> None:
        """At most `count` events of `size` bytes in total; the oldest is dropped."""
        self._events: deque[Event] = deque()
        self._count = count
        self._size = size
        self._bytes = 0
        self._changed: asyncio.Future[None] | None = None
        self.newest = 0
        "Number of the newest event."
        self.closed = False

    @property
    def oldest(self) -> int:
        """Number of the oldest kept event; of the next one, if none is kept."""
        return self._events[0].number if self._events else self.newest + 1

    def accept(self, event: Event) -> None:
        if not event.number:
            return
        self._events.append(event)
        self.newest = event.number
        self._bytes += len(event.body) + EVENT_OVERHEAD
        while len(self._events) > self._count or (self._bytes > self._size and len(self._events) > 1):
            self._bytes -= len(self._events.popleft().body) + EVENT_OVERHEAD
        self._notify()

    def after(self, number: int, count: int) -> Sequence[Event]:
        """Up to `count` kept events that follow the event with this number."""
        first = max(0, number + 1 - self.oldest)
        return [self._events[index] for index in range(first, min(first + count, len(self._events)))]

    async def wait(self) -> None:
        """Waits for the next event, or for the end."""
        if self.closed:
            return
        if self._changed is None:
            self._changed = asyncio.get_running_loop().create_future()
        await asyncio.shield(self._changed)

    def close(self) -> None:
        self.closed = True
        self._notify()

    def _notify(self) -> None:
        changed, self._changed = self._changed, None
        if changed is not None and not changed.done():
            changed.set_result(None)
