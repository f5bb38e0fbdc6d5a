"""A burst leaves at the speed of the path: keyframes, replays and repairs are spread, sound passes at once.

A budget of bytes fills at a multiple of the target and may run ahead for a few milliseconds. While it lasts, packets pass
with no queue at all, so a well-paced publisher costs nothing here. Factor, burst and the limit of the queue follow
libwebrtc's PacingController.
"""

from collections import deque
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

T = TypeVar("T")

FACTOR: Final = 2.5
BURST: Final = 0.04
"""Seconds of the rate that may go out at once."""
LEAST_BURST: Final = 15_000
"""Bytes, about a frame of the smallest layers."""
QUEUE_LIMIT: Final = 0.5
"""Seconds: a longer queue is sent faster rather than later."""
COUNT_LIMIT: Final = 1024


@dataclass(slots=True)
class Queued(Generic[T]):
    item: T
    size: int
    since: float


class Pacer(Generic[T]):
    """A bounded queue in order. What it cannot take any more is dropped and counted."""

    __slots__ = ("_budget", "_filled", "_queue", "_rate", "dropped", "queued_bytes")

    def __init__(self, target: float, now: float) -> None:
        self._rate = target * FACTOR / 8
        self._budget = float(max(LEAST_BURST, self._rate * BURST))
        self._filled = now
        self._queue: deque[Queued[T]] = deque()
        self.queued_bytes = 0
        self.dropped = 0

    def set_target(self, target: float) -> None:
        self._rate = target * FACTOR / 8

    def pass_audio(self, size: int, now: float) -> None:
        """Sound never waits; it uses the budget all the same."""
        self._fill(now)
        self._budget -= size

    def push(self, item: T, size: int, now: float) -> bool:
        """True: send it now. False: it waits (or was dropped) and comes out of `due`."""
        self._fill(now)
        if not self._queue and self._budget > 0:
            self._budget -= size
            return True
        if len(self._queue) >= COUNT_LIMIT:
            self.dropped += 1
            return False
        self._queue.append(Queued(item, size, now))
        self.queued_bytes += size
        return False

    def due(self, now: float) -> list[T]:
        """What may go out now, in order."""
        queue = self._queue
        if not queue:
            return []
        self._fill(now)
        late = queue[0].since + QUEUE_LIMIT <= now
        found: list[T] = []
        while queue and (self._budget > 0 or late):
            queued = queue.popleft()
            self._budget -= queued.size
            self.queued_bytes -= queued.size
            found.append(queued.item)
            late = bool(queue) and queue[0].since + QUEUE_LIMIT <= now
        self._budget = max(self._budget, -max(LEAST_BURST, self._rate * BURST))
        return found

    def next_deadline(self, now: float) -> float | None:
        """When `due` has something; None while nothing waits."""
        if not self._queue:
            return None
        self._fill(now)
        wait = max(0.0, -self._budget / self._rate) if self._rate > 0 else QUEUE_LIMIT
        return min(now + wait, self._queue[0].since + QUEUE_LIMIT)

    def clear(self) -> None:
        """The stream behind it has ended."""
        self._queue.clear()
        self.queued_bytes = 0

    def _fill(self, now: float) -> None:
        most = max(LEAST_BURST, self._rate * BURST)
        self._budget = min(most, self._budget + (now - self._filled) * self._rate)
        self._filled = now
