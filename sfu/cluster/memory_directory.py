"""A directory and a bus in the memory of one process.

The parent process of workers serves them on a Unix socket (sfu/cluster/directory_server.py).
"""

import asyncio
import time
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence

from sfu.cluster.directory_state import DirectoryState
from sfu.cluster.ports import MESSAGE_LIMIT_BYTES, Home, NodeInfo

STREAMS_LIMIT = 1_024
"""Streams of a bus. Beyond it, the stream whose last message is the oldest is dropped."""
STREAM_LIMIT = 10_000
"""Messages of a stream."""
STREAM_LIMIT_BYTES = 16 << 20


class MemoryDirectory:
    """A Directory. Requests take effect at once, so it needs no locks."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.state = DirectoryState()

    async def announce(self, node: NodeInfo) -> bool:
        return self.state.announce(node, self._clock())

    async def withdraw(self, instance: str) -> None:
        self.state.withdraw(instance, self._clock())

    async def nodes(self) -> Mapping[str, NodeInfo]:
        return self.state.nodes(self._clock())

    async def home(self, room: str) -> Home | None:
        return self.state.home(room, self._clock())

    async def claim(self, room: str, node: str, instance: str, *, over: str = "", epoch: int = 0) -> Home:
        return self.state.claim(room, Home(node, instance, epoch), self._clock(), over=over)

    async def release(self, room: str, home: Home) -> None:
        self.state.release(room, home)

    async def save(self, room: str, home: Home, snapshot: bytes) -> None:
        self.state.save(room, home, snapshot, self._clock())

    async def load(self, room: str) -> bytes | None:
        return self.state.load(room, self._clock())

    async def close(self) -> None:
        pass


class _Stream:
    """The newest messages of a stream with consecutive numbers."""

    __slots__ = ("first", "messages", "size")

    def __init__(self, first: int) -> None:
        self.first = first
        self.messages: deque[bytes] = deque()
        self.size = 0

    @property
    def next(self) -> int:
        return self.first + len(self.messages)

    def append(self, message: bytes) -> None:
        self.messages.append(message)
        self.size += len(message)
        while len(self.messages) > STREAM_LIMIT or self.size > STREAM_LIMIT_BYTES:
            self.size -= len(self.messages.popleft())
            self.first += 1


class MemoryBus:
    """A Bus. A reader that falls behind misses the messages that its stream has dropped."""

    def __init__(self) -> None:
        self._streams: OrderedDict[str, _Stream] = OrderedDict()
        self._published = asyncio.Event()
        self._number = 1
        self.dropped_streams = 0

    async def publish(self, stream: str, message: bytes) -> None:
        self.append(stream, message)

    def append(self, stream: str, message: bytes) -> None:
        """Raises ValueError."""
        if len(message) > MESSAGE_LIMIT_BYTES:
            raise ValueError(f"a message of {len(message)} bytes exceeds {MESSAGE_LIMIT_BYTES}")
        known = self._streams.get(stream)
        if known is None:
            # Numbers continue across streams: a reader of a dropped stream does not miss messages of its successor.
            known = self._streams[stream] = _Stream(self._number)
        known.append(message)
        self._number = max(self._number, known.next)
        self._streams.move_to_end(stream)
        if len(self._streams) > STREAMS_LIMIT:
            self._streams.popitem(last=False)
            self.dropped_streams += 1
        self._published.set()
        self._published = asyncio.Event()

    async def read(self, streams: Sequence[str]) -> AsyncIterator[tuple[str, bytes]]:
        async for stream, _, message in self.read_from(dict.fromkeys(streams, 0)):
            yield stream, message

    async def read_from(self, positions: dict[str, int]) -> AsyncIterator[tuple[str, int, bytes]]:
        """Yields (stream, number, message) from the given number of each stream on."""
        while True:
            published = self._published
            for stream in positions:
                while (known := self._streams.get(stream)) is not None and positions[stream] < known.next:
                    number = max(positions[stream], known.first)
                    positions[stream] = number + 1
                    yield stream, number, known.messages[number - known.first]
            if published is self._published:
                await published.wait()
