"""What waits to be sent to one client, and what is kept in case its socket drops.

Messages collect until the flusher comes round, then go as one frame (an array if there are several): one system call for
everything that happened meanwhile. Numbered events are kept, as the very bytes that everybody shares, for a resume.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Protocol


class Socket(Protocol):
    """The sending half of a WebSocket."""

    def write(self, payload: bytes) -> int:
        """Sends one text frame without waiting; the bytes that wait in the socket by now. After a close: nothing."""

    def close(self, code: int) -> None:
        """Ends it in good order, after what was written. Idempotent."""


class Flusher:
    """Flushes the outboxes that have something, all at once: immediately after a pause, else every `interval`."""

    def __init__(self, interval: float) -> None:
        self._interval = interval
        self._dirty: list[Outbox] = []
        self._scheduled = False
        self._earliest = 0.0
        self.messages = 0
        "Messages sent in total."
        self.frames = 0
        "Frames sent in total."

    def add(self, outbox: "Outbox") -> None:
        self._dirty.append(outbox)
        if self._scheduled:
            return
        self._scheduled = True
        loop = asyncio.get_running_loop()
        delay = self._earliest - loop.time()
        if delay > 0:
            loop.call_later(delay, self._flush)
        else:
            loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._scheduled = False
        dirty, self._dirty = self._dirty, []
        for outbox in dirty:
            count = outbox.flush()
            if count:
                self.messages += count
                self.frames += 1
        self._earliest = asyncio.get_running_loop().time() + self._interval


class Outbox:
    __slots__ = (
        "_flusher",
        "_forgotten",
        "_kept",
        "_kept_bytes",
        "_max_bytes",
        "_max_events",
        "_overflow",
        "_overflowed",
        "_pending",
        "_pending_bytes",
        "_queue_bytes",
        "_spilt",
        "_waiting",
        "socket",
    )

    def __init__(
        self, flusher: Flusher, max_events: int, max_bytes: int, queue_bytes: int, overflow: Callable[[], None]
    ) -> None:
        """`overflow` is called, from the flusher, when more than `queue_bytes` wait for a client that does not read."""
        self._flusher = flusher
        self._queue_bytes = queue_bytes
        self._overflow = overflow
        self._overflowed = False
        self._max_events = max_events
        self._max_bytes = max_bytes
        self._pending: list[bytes] = []
        self._pending_bytes = 0
        self._spilt = False
        self._kept: deque[tuple[int, bytes]] = deque()
        self._kept_bytes = 0
        self._forgotten = 0
        "The highest number that is not kept any more."
        self._waiting = False
        self.socket: Socket | None = None

    def send(self, payload: bytes) -> None:
        """Once, if there is a socket. What follows more than may wait, all in one moment, is dropped as the socket will be."""
        if self._pending_bytes > self._queue_bytes:
            self._spilt = True  # one message may be larger than that, as of who is there in a large room
        elif self.socket is not None:
            self._pending.append(payload)
            self._pending_bytes += len(payload)
            if not self._waiting:
                self._waiting = True
                self._flusher.add(self)

    def send_event(self, number: int, payload: bytes) -> None:
        """Now or after a resume."""
        self._kept.append((number, payload))
        self._kept_bytes += len(payload)
        while len(self._kept) > self._max_events or self._kept_bytes > self._max_bytes:
            self._forgotten, gone = self._kept.popleft()
            self._kept_bytes -= len(gone)
        self.send(payload)

    def reset(self, number: int) -> None:
        """A snapshot holds everything up to `number`; only what comes after can be missed."""
        self._kept.clear()
        self._kept_bytes = 0
        self._forgotten = number

    def missed(self, last: int) -> list[bytes] | None:
        """What came after `last`; None if some of it is not kept any more."""
        if last < self._forgotten:
            return None
        return [payload for number, payload in self._kept if number > last]

    def attach(self, socket: Socket) -> None:
        self.detach()
        self.socket = socket
        self._overflowed = False

    def detach(self) -> None:
        """What was not sent is dropped: events are kept, replies are asked for again."""
        self.socket = None
        self._pending.clear()
        self._pending_bytes = 0
        self._spilt = False

    def close(self) -> None:
        """Nothing is kept any more, and nobody is told of an overflow; what is sent still goes."""
        self._kept.clear()
        self._kept_bytes = 0
        self._overflow = _ignore_overflow

    def flush(self) -> int:
        """Number of messages sent, as one frame."""
        self._waiting = False
        pending = self._pending
        if self.socket is None or not pending:
            return 0
        count = len(pending)
        self._pending = []
        self._pending_bytes = 0
        queued = self.socket.write(pending[0] if count == 1 else b"[" + b",".join(pending) + b"]")
        if (queued > self._queue_bytes or self._spilt) and not self._overflowed:
            self._overflowed = True
            self._overflow()
        return count


def _ignore_overflow() -> None:
    """The session has ended, and its socket is being closed."""
