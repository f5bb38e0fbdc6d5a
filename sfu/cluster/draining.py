"""Empties a node: moves its rooms to other nodes one after the other, so that the clients do not resume all at once."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping

from sfu.errors import RemoteError

log = logging.getLogger(__name__)

RESUMES_PER_SECOND = 100.0
"""Participants that move in a second. The first room moves at once."""
INTERVAL = 0.5
"""Seconds between rounds: a join that was placed before the drain can still create a room."""
RETRY = 5.0
"""Seconds after a round in which a room did not move."""


class Draining:
    """`rooms`: participants by room. `move` raises RemoteError when a room has to stay for now."""

    def __init__(self, rooms: Callable[[], Mapping[str, int]], move: Callable[[str], Awaitable[object]]) -> None:
        self._rooms = rooms
        self._move = move
        self._task: asyncio.Task[None] | None = None

    @property
    def active(self) -> bool:
        return self._task is not None

    def start(self) -> None:
        """Idempotent."""
        if self._task is None:
            self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Rooms that have moved stay where they are. Idempotent."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            failed = False
            for room, participants in self._rooms().items():
                try:
                    await self._move(room)
                except RemoteError as error:
                    failed = True
                    log.warning("a room does not move", extra={"room": room, "reason": error.message})
                else:
                    await asyncio.sleep(participants / RESUMES_PER_SECOND)
            await asyncio.sleep(RETRY if failed else INTERVAL)
