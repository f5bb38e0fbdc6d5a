"""Pacer: spreads bursts of video (keyframes, cached GOPs, retransmissions) over time; audio is never delayed.

A byte budget refills at a multiple of the target rate and allows a burst of a few milliseconds. Within the budget,
packets bypass the queue, so a well-paced publisher adds no cost. Factor, burst and queue limit follow libwebrtc's
PacingController.
"""

from collections import deque
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

T = TypeVar("T")

FACTOR: Final = 2.5
BURST: Final = 0.04
"""Maximum burst, in seconds at the current rate."""
MIN_BURST: Final = 15_000
"""Minimum burst limit in bytes, about one frame of the smallest layers."""
QUEUE_LIMIT: Final = 0.5
"""Maximum queueing time in seconds. Older packets are sent at once."""
COUNT_LIMIT: Final = 1024


@dataclass(slots=True)
class Queued(Generic[T]):
    item: T
    size: int
    since: float


class Pacer(Generic[T]):
    """Bounded FIFO queue. Packets beyond its limit are dropped and counted."""

    __slots__ = ("_budget", "_filled", "_queue", "_rate", "dropped", "queued_bytes")

    def __init__(self, target: float, now: float) -> None:
        self._rate = target * FACTOR / 8
        self._budget = float(max(MIN_BURST, self._rate * BURST))
        self._filled = now
        self._queue: deque[Queued[T]] = deque()
        self.queued_bytes = 0
        self.dropped = 0

    def set_target(self, target: float) -> None:
        self._rate = target * FACTOR / 8

    def pass_audio(self, size: int, now: float) -> None:
        """Charges an audio packet to the budget. Audio is sent at once."""
        self._fill(now)
        self._budget -= size

    def push(self, item: T, size: int, now: float) -> bool:
        """Returns whether to send the packet now. Otherwise it is queued for `due`, or dropped if the queue is full."""
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
        """Returns the packets to send now, in order."""
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
        self._budget = max(self._budget, -max(MIN_BURST, self._rate * BURST))
        return found

    def next_deadline(self, now: float) -> float | None:
        """Time at which `due` returns packets. None: the queue is empty."""
        if not self._queue:
            return None
        self._fill(now)
        wait = max(0.0, -self._budget / self._rate) if self._rate > 0 else QUEUE_LIMIT
        return min(now + wait, self._queue[0].since + QUEUE_LIMIT)

    def clear(self) -> None:
        """Call when the stream has ended."""
        self._queue.clear()
        self.queued_bytes = 0

    def _fill(self, now: float) -> None:
        most = max(MIN_BURST, self._rate * BURST)
        self._budget = min(most, self._budget + (now - self._filled) * self._rate)
        self._filled = now
