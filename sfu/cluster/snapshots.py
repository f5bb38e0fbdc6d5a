"""Saves the snapshots of changed rooms in the directory, sealed with the secrets of the cluster.

The directory does not see what a snapshot contains, and cannot alter it. A change is saved at once when the last round of
saving is long enough ago, else with the next round. An idle room costs no request.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence

from sfu.cluster.ports import Directory, Fenced, Home, Unavailable
from sfu.cluster.sealing import Forged, Sealer

log = logging.getLogger(__name__)

MIN_INTERVAL = 0.1
"""Seconds between two rounds of saving: what a kill of this node may lose, e.g. a chat message."""
MAX_INTERVAL = 0.5
SAVING_SHARE = 0.05
"""Share of the time for saving. Rounds that take longer follow each other more slowly, up to `MAX_INTERVAL`."""
CONCURRENCY = 8
RETRY = 1.0
"""Seconds after a request that the directory did not answer."""


class Snapshots:
    """`take`: the snapshot of a room, None if it has ended. `home_of`: the home of a room that this node serves."""

    def __init__(
        self,
        directory: Directory,
        secrets: Sequence[str],
        take: Callable[[str], bytes | None],
        home_of: Callable[[str], Home | None],
        lost: Callable[[str], None],
    ) -> None:
        """`lost` is called with a room that has another home."""
        self._directory = directory
        self._sealer = Sealer(secrets, "snapshots")
        self._take = take
        self._home_of = home_of
        self._lost = lost
        self._changed: dict[str, None] = {}
        self._saving = 0
        self._rounds = asyncio.Lock()
        self._wake = asyncio.Event()
        self.saved = 0
        self.fenced = 0
        self.oversized = 0

    def room_changed(self, room: str) -> None:
        """Cheap: call it for each change."""
        self._changed[room] = None
        self._wake.set()

    @property
    def unsaved(self) -> int:
        """Rooms with changes that the directory does not have yet."""
        return len(self._changed) + self._saving

    async def load(self, room: str) -> bytes | None:
        """Raises Unavailable."""
        sealed = await self._directory.load(room)
        if sealed is None:
            return None
        try:
            return self._sealer.open(sealed, room.encode())
        except Forged:
            log.warning("a snapshot was not sealed by this cluster", extra={"room": room})
            return None

    async def run(self) -> None:
        """Saves changed rooms until it is cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            began = asyncio.get_running_loop().time()
            answered = await self.save_changed()
            spent = asyncio.get_running_loop().time() - began
            await asyncio.sleep(min(max(spent / SAVING_SHARE, MIN_INTERVAL), MAX_INTERVAL) if answered else RETRY)

    async def save_last(self, room: str, home: Home, close: Callable[[], bytes]) -> None:
        """Saves the last state of a room that another node continues. `close` closes the room and returns its snapshot; no
        older state is saved after it. Raises Unavailable, Fenced and ValueError."""
        async with self._rounds:
            snapshot = close()
            await self._directory.save(room, home, self._sealer.seal(snapshot, room.encode()))

    async def save_changed(self) -> bool:
        """Saves all changed rooms. False: the directory did not answer; the rooms are saved later."""
        async with self._rounds:
            return await self._save_changed()

    async def _save_changed(self) -> bool:
        changed, self._changed = list(self._changed), {}
        answered = True
        gate = asyncio.Semaphore(CONCURRENCY)

        async def save(room: str) -> None:
            nonlocal answered
            async with gate:
                if answered:
                    try:
                        await self._save(room)
                    except Unavailable:
                        answered = False
                if not answered:
                    self.room_changed(room)

        self._saving = len(changed)
        try:
            async with asyncio.TaskGroup() as group:
                for room in changed:
                    group.create_task(save(room))
        finally:
            self._saving = 0
        return answered

    async def _save(self, room: str) -> None:
        home, snapshot = self._home_of(room), self._take(room)
        if home is None or snapshot is None:
            return
        try:
            await self._directory.save(room, home, self._sealer.seal(snapshot, room.encode()))
            self.saved += 1
        except Fenced:
            # A claim that was verified meanwhile changes the epoch: then the next snapshot is saved with it.
            if self._home_of(room) == home:
                self.fenced += 1
                self._lost(room)
            else:
                self.room_changed(room)
        except ValueError:
            self.oversized += 1
            log.warning("a snapshot is too large", extra={"room": room, "bytes": len(snapshot)})
