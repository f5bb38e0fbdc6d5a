"""Paces the packets of large pictures, so that a keyframe does not fill the queues of subscribers' paths at once. Pure.

The rate is a matter of time and not of calls: on a busy machine the event loop wakes up late, and the packets that were due
meanwhile leave together. Otherwise each slice of a keyframe would add one more delay.
"""

from collections import deque
from typing import Final

BURST: Final = 48
"""Packets of one slice: 450 kbit."""
SLICE_INTERVAL: Final = 0.004
"""Seconds between two slices: 110 Mbit/s."""
MAX_SLICES: Final = 8
"""Slices that leave together at most."""
QUEUE_LIMIT: Final = 8192
"""Packets that may wait: two pictures of the largest size. Beyond it, waiting packets are dropped."""


class PicturePacer:
    """The driver sends what `push` and `due` return, and calls `due` about every `SLICE_INTERVAL` seconds while `waiting`.

    `now` is monotonic seconds.
    """

    def __init__(self) -> None:
        self._queue: deque[bytes] = deque()
        self._sent_at = 0.0

    @property
    def waiting(self) -> bool:
        return bool(self._queue)

    def push(self, packets: list[bytes], now: float) -> list[bytes]:
        """Takes the packets of one picture. Returns those that leave at once."""
        if self._queue:
            if len(self._queue) + len(packets) > QUEUE_LIMIT:
                self._queue.clear()
            self._queue += packets
            return []
        self._sent_at = now
        self._queue += packets[BURST:]
        return packets[:BURST]

    def due(self, now: float) -> list[bytes]:
        """The packets that are due, at least one slice."""
        slices = min(MAX_SLICES, max(1, int((now - self._sent_at) / SLICE_INTERVAL)))
        self._sent_at = now
        return [self._queue.popleft() for _ in range(min(slices * BURST, len(self._queue)))]

    def clear(self) -> None:
        self._queue.clear()
