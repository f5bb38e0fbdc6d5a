"""Outgoing messages of one client: those that wait to be sent, and those that are kept for a resume.

Messages collect until the flusher runs and then leave in one WebSocket message, with one system call. Numbered events are
kept in encoded form, as the same bytes objects that all sessions share.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol


class Socket(Protocol):
    """The sending half of a WebSocket."""

    def write(self, payload: bytes) -> int:
        """Sends one message without waiting. Returns the bytes that wait in the socket. Does nothing after `close`."""

    def close(self, code: int) -> None:
        """Closes the socket after the data that was written. Idempotent."""


class Flusher:
    """Flushes all outboxes with pending messages together: at once after a pause, otherwise every `interval` seconds."""

    def __init__(self, interval: float) -> None:
        self._interval = interval
        self._dirty: list[Outbox] = []
        self._scheduled = False
        self._earliest = 0.0
        self.messages = 0
        "Messages sent in total."
        self.frames = 0
        "WebSocket messages sent in total."

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
        "_frame",
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
        self,
        flusher: Flusher,
        frame: Callable[[Sequence[bytes]], bytes],
        max_events: int,
        max_bytes: int,
        queue_bytes: int,
        overflow: Callable[[], None],
    ) -> None:
        """`frame` combines messages into one WebSocket message. The flusher calls `overflow` when more than
        `queue_bytes` wait for a client that does not read."""
        self._flusher = flusher
        self._frame = frame
        self._queue_bytes = queue_bytes
        self._overflow = overflow
        self._overflowed = False
        self._max_events = max_events
        self._max_bytes = max_bytes
        self._pending: list[bytes] = []
        self._pending_bytes = 0
        self._spilt = False
        "Messages were dropped because too many bytes were pending."
        self._kept: deque[tuple[int, bytes]] = deque()
        self._kept_bytes = 0
        self._forgotten = 0
        "The highest number that is no longer kept."
        self._waiting = False
        self.socket: Socket | None = None

    def send(self, payload: bytes) -> None:
        """Sends a message once, if there is a socket. Drops it when too many bytes are pending, since the flush will then
        close the socket."""
        if self._pending_bytes > self._queue_bytes:
            self._spilt = True  # a single message may exceed the limit, e.g. `joined` in a large room
        elif self.socket is not None:
            self._pending.append(payload)
            self._pending_bytes += len(payload)
            if not self._waiting:
                self._waiting = True
                self._flusher.add(self)

    def send_event(self, number: int, payload: bytes) -> None:
        """Sends a numbered event now, and again after a resume if the client missed it."""
        self._kept.append((number, payload))
        self._kept_bytes += len(payload)
        while len(self._kept) > self._max_events or self._kept_bytes > self._max_bytes:
            self._forgotten, gone = self._kept.popleft()
            self._kept_bytes -= len(gone)
        self.send(payload)

    def reset(self, number: int) -> None:
        """A snapshot contains all events up to `number`; only later ones need to be kept."""
        self._kept.clear()
        self._kept_bytes = 0
        self._forgotten = number

    def missed(self, last: int) -> list[bytes] | None:
        """The events after `last`; None: some of them are no longer kept."""
        if last < self._forgotten:
            return None
        return [payload for number, payload in self._kept if number > last]

    def attach(self, socket: Socket) -> None:
        self.detach()
        self.socket = socket
        self._overflowed = False

    def detach(self) -> None:
        """Drops pending messages: events are kept, and the client repeats requests without a reply."""
        self.socket = None
        self._pending.clear()
        self._pending_bytes = 0
        self._spilt = False

    def close(self) -> None:
        """Discards kept events and disables `overflow`. Messages can still be sent."""
        self._kept.clear()
        self._kept_bytes = 0
        self._overflow = _ignore_overflow

    def flush(self) -> int:
        """Sends all pending messages as one WebSocket message. Returns their number."""
        self._waiting = False
        pending = self._pending
        if self.socket is None or not pending:
            return 0
        self._pending = []
        self._pending_bytes = 0
        queued = self.socket.write(self._frame(pending))
        if (queued > self._queue_bytes or self._spilt) and not self._overflowed:
            self._overflowed = True
            self._overflow()
        return len(pending)


def _ignore_overflow() -> None:
    """The session has ended, and its socket is being closed."""
