"""Revocations that all nodes of a cluster share over the bus."""

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Final

import msgspec

from sfu.auth.revocation import Revocations
from sfu.cluster.node_auth import SignedBus
from sfu.cluster.ports import Unavailable

log = logging.getLogger(__name__)

STREAM: Final = "revocations"
QUEUE_LIMIT: Final = 10_000
"""Revocations that wait for the bus. Beyond it, the oldest is dropped and only valid on this node."""
RETRY: Final = 1.0
"""Seconds after an attempt to publish that the bus did not answer."""


class Revocation(msgspec.Struct, frozen=True, array_like=True):
    key: tuple[str, ...]
    "Token id, or room and identity."
    revoked_at: float
    until: float


class SharedRevocations(Revocations):
    """Publishes its revocations with `run`, and applies those of other nodes."""

    __slots__ = ("_arrived", "_clock", "_decoder", "_queue", "dropped")

    def __init__(self, limit: int = 10_000, clock: Callable[[], float] = time.time) -> None:
        super().__init__(limit)
        self._clock = clock
        self._queue: dict[tuple[str, ...], Revocation] = {}
        self._arrived = asyncio.Event()
        self._decoder = msgspec.msgpack.Decoder(Revocation)
        self.dropped = 0

    def revoke_token(self, token_id: str, *, now: float, until: float) -> None:
        super().revoke_token(token_id, now=now, until=until)
        self._enqueue(Revocation((token_id,), now, until))

    def revoke_participant(self, room: str, identity: str, *, now: float, until: float) -> None:
        super().revoke_participant(room, identity, now=now, until=until)
        self._enqueue(Revocation((room, identity), now, until))

    def apply(self, message: bytes) -> None:
        """A message of the bus. A malformed one has no effect."""
        try:
            found = self._decoder.decode(message)
        except msgspec.DecodeError:
            log.warning("malformed revocation")
            return
        if found.until <= self._clock():
            return
        match found.key:
            case (token_id,):
                super().revoke_token(token_id, now=found.revoked_at, until=found.until)
            case (room, identity):
                super().revoke_participant(room, identity, now=found.revoked_at, until=found.until)

    async def run(self, bus: SignedBus) -> None:
        """Runs until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._publish(bus))
            async for _, message in bus.read([STREAM]):
                self.apply(message)

    def _enqueue(self, revocation: Revocation) -> None:
        self._queue[revocation.key] = revocation
        if len(self._queue) > QUEUE_LIMIT:
            del self._queue[next(iter(self._queue))]
            self.dropped += 1
        self._arrived.set()

    async def _publish(self, bus: SignedBus) -> None:
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            while self._queue:
                key, revocation = next(iter(self._queue.items()))
                try:
                    await bus.publish(STREAM, msgspec.msgpack.encode(revocation))
                except Unavailable:
                    await asyncio.sleep(RETRY)
                    continue
                except ValueError:
                    log.warning("a revocation is too large for the bus")
                if self._queue.get(key) is revocation:
                    del self._queue[key]
