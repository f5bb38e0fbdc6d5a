"""A bus on Redis Streams. Readers use `XREAD BLOCK` with a socket timeout, so a half-open connection is noticed."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from urllib.parse import quote

from sfu.cluster import redis_scripts as scripts
from sfu.cluster.memory_directory import STREAM_LIMIT
from sfu.cluster.ports import MESSAGE_LIMIT_BYTES, Unavailable
from sfu.cluster.redis_connection import RedisConnection
from sfu.cluster.settings import Settings

BLOCK = 5.0
"""Seconds for which a read waits in Redis: an idle reader costs a command in this time."""
BATCH = 64
"""Messages of one read."""
RETRY = 0.25
"""Seconds between reads while Redis does not answer."""
STREAM_LIFETIME = 2 * 86_400.0
"""Seconds after the last message until a stream is deleted."""


class RedisBus:
    """A Bus."""

    def __init__(self, settings: Settings) -> None:
        """Raises ConfigurationError."""
        self._publisher = RedisConnection(settings)
        self._reader = RedisConnection(settings, BLOCK)
        self._prefix = settings.redis_prefix
        self.malformed = 0
        "Entries that are not messages."

    @property
    def requests(self) -> int:
        return self._publisher.requests + self._reader.requests

    @property
    def errors(self) -> int:
        return self._publisher.errors + self._reader.errors

    async def publish(self, stream: str, message: bytes) -> None:
        if len(message) > MESSAGE_LIMIT_BYTES:
            raise ValueError(f"a message of {len(message)} bytes exceeds {MESSAGE_LIMIT_BYTES}")
        lifetime = int(STREAM_LIFETIME * 1000)
        await self._publisher.run(scripts.PUBLISH, self._key(stream), message, STREAM_LIMIT, lifetime)

    async def read(self, streams: Sequence[str]) -> AsyncIterator[tuple[str, bytes]]:
        if not self._reader.is_cluster or len(streams) == 1:
            async for found in self._read(streams):
                yield found
            return
        # A command of Redis Cluster reads keys of one slot only.
        queue: asyncio.Queue[tuple[str, bytes]] = asyncio.Queue(BATCH)

        async def forward(stream: str) -> None:
            async for found in self._read([stream]):
                await queue.put(found)

        tasks = [asyncio.create_task(forward(stream)) for stream in streams]
        try:
            while True:
                yield await queue.get()
        finally:
            await _cancelled(tasks)

    async def close(self) -> None:
        await self._publisher.close()
        await self._reader.close()

    async def _read(self, streams: Sequence[str]) -> AsyncIterator[tuple[str, bytes]]:
        by_key = {self._key(stream).encode(): stream for stream in streams}
        positions = dict.fromkeys(by_key, b"0")
        while True:
            try:
                answer = await self._reader.execute(
                    "XREAD", "COUNT", BATCH, "BLOCK", int(BLOCK * 1000), "STREAMS", *positions, *positions.values()
                )
            except Unavailable:
                await asyncio.sleep(RETRY)
                continue
            for key, entries in _streams(answer):
                for number, fields in entries:
                    positions[key] = number
                    message = (fields or {}).get(b"m")
                    if isinstance(message, bytes):
                        yield by_key[key], message
                    else:
                        self.malformed += 1

    def _key(self, stream: str) -> str:
        return f"{self._prefix}:{{{quote(stream, safe='')}}}:stream"


async def _cancelled(tasks: list[asyncio.Task[None]]) -> None:
    """Cancels until all tasks have ended: a read of redis-py from a Cluster can outlive one cancellation."""
    pending = set(tasks)
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=0.05)


def _streams(answer: object) -> list[tuple[bytes, list[tuple[bytes, dict[bytes, bytes] | None]]]]:
    """The answer of XREAD as redis-py returns it: a list, a mapping with RESP3, or None without messages."""
    if isinstance(answer, dict):
        return [(key, [entry for batch in batches for entry in batch]) for key, batches in answer.items()]
    return list(answer) if isinstance(answer, list) else []
