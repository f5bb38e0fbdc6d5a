"""The state of a directory as a pure state machine: leases of instances, homes of rooms with their epochs, snapshots.

The rules are those of `Directory` in sfu/cluster/ports.py. The Lua scripts in sfu/cluster/redis_scripts.py implement the same
rules; the contract tests run against both. All methods take `now` in seconds of any monotonic clock.
"""

from collections import OrderedDict
from dataclasses import dataclass

from sfu.cluster.ports import LEASE, SNAPSHOT_LIFETIME, SNAPSHOT_LIMIT_BYTES, Fenced, Home, NodeInfo, Unavailable

NODES_LIMIT = 1_024
ENDED_LIMIT = 4_096
"""Instances whose lease has ended. Beyond it, the earliest is forgotten."""
ROOMS_LIMIT = 100_000
ROOM_LIFETIME = 7 * 86_400.0
"""Seconds after the last claim for which the epoch of a room is kept."""
SNAPSHOTS_LIMIT_BYTES = 512 << 20
"""Snapshots of all rooms. Beyond it, the least recently saved are dropped."""


@dataclass(slots=True)
class _Lease:
    node: NodeInfo
    until: float


@dataclass(slots=True)
class _Room:
    home: Home
    "After a release, node and instance are empty; the epoch stays."
    claimed_at: float


@dataclass(slots=True)
class _Snapshot:
    data: bytes
    until: float


class DirectoryState:
    """All tables are bounded. `evicted` counts snapshots that were dropped before their time."""

    def __init__(self) -> None:
        self._leases: dict[str, _Lease] = {}
        self._ended: OrderedDict[str, None] = OrderedDict()
        self._rooms: OrderedDict[str, _Room] = OrderedDict()
        self._snapshots: OrderedDict[str, _Snapshot] = OrderedDict()
        self._snapshot_bytes = 0
        self.evicted = 0

    def announce(self, node: NodeInfo, now: float) -> bool:
        """Raises Fenced and Unavailable."""
        self._expire_leases(now)
        if node.instance in self._ended:
            raise Fenced(f"the lease of instance {node.instance} has ended")
        known = node.instance in self._leases
        if not known and len(self._leases) >= NODES_LIMIT:
            raise Unavailable(f"The directory has {NODES_LIMIT} nodes already.")
        self._leases[node.instance] = _Lease(node, now + LEASE)
        return known

    def withdraw(self, instance: str, now: float) -> None:
        self._expire_leases(now)
        self._end(instance)

    def nodes(self, now: float) -> dict[str, NodeInfo]:
        """Of two living instances of a node, the last one that appeared."""
        self._expire_leases(now)
        return {lease.node.id: lease.node for lease in self._leases.values()}

    def home(self, room: str, now: float) -> Home | None:
        self._expire_leases(now)
        known = self._rooms.get(room)
        return known.home if known is not None and known.home.instance in self._leases else None

    def claim(self, room: str, claimant: Home, now: float, *, over: str = "") -> Home:
        """`claimant`: node, instance, and the epoch of the home that it has had, or 0. Raises Fenced and Unavailable."""
        self._expire_leases(now)
        if claimant.instance not in self._leases:
            raise Fenced(f"the lease of instance {claimant.instance} has ended")
        known = self._rooms.get(room)
        if known is None:
            self._make_place(now)
            home = Home(claimant.node, claimant.instance, claimant.epoch + 1)
        elif known.home.instance == claimant.instance and known.home.epoch >= claimant.epoch:
            home = known.home
        elif (
            known.home.instance not in self._leases or known.home.instance == over or known.home.epoch < claimant.epoch
        ):
            home = Home(claimant.node, claimant.instance, max(known.home.epoch, claimant.epoch) + 1)
        else:
            return known.home
        self._rooms[room] = _Room(home, now)
        self._rooms.move_to_end(room)
        return home

    def release(self, room: str, home: Home) -> None:
        known = self._rooms.get(room)
        if known is not None and known.home == home:
            known.home = Home("", "", home.epoch)
            self._drop_snapshot(room)

    def save(self, room: str, home: Home, snapshot: bytes, now: float) -> None:
        """Raises Fenced and ValueError."""
        if len(snapshot) > SNAPSHOT_LIMIT_BYTES:
            raise ValueError(f"a snapshot of {len(snapshot)} bytes exceeds {SNAPSHOT_LIMIT_BYTES}")
        known = self._rooms.get(room)
        if known is not None and known.home != home and known.home.epoch >= home.epoch:
            raise Fenced(f"epoch {home.epoch} of the room is over")
        self._drop_snapshot(room)
        self._snapshots[room] = _Snapshot(snapshot, now + SNAPSHOT_LIFETIME)
        self._snapshot_bytes += len(snapshot)
        while self._snapshots and next(iter(self._snapshots.values())).until <= now:
            self._drop_snapshot(next(iter(self._snapshots)))
        while self._snapshot_bytes > SNAPSHOTS_LIMIT_BYTES or len(self._snapshots) > ROOMS_LIMIT:
            self._drop_snapshot(next(iter(self._snapshots)))
            self.evicted += 1

    def load(self, room: str, now: float) -> bytes | None:
        known = self._snapshots.get(room)
        return known.data if known is not None and known.until > now else None

    def wipe(self) -> None:
        """Forgets everything, as Redis does at FLUSHALL."""
        self.__init__()  # type: ignore[misc]  # the class has no subclasses

    def _expire_leases(self, now: float) -> None:
        for instance in [instance for instance, lease in self._leases.items() if lease.until <= now]:
            self._end(instance)

    def _end(self, instance: str) -> None:
        self._leases.pop(instance, None)
        self._ended[instance] = None
        if len(self._ended) > ENDED_LIMIT:
            self._ended.popitem(last=False)

    def _make_place(self, now: float) -> None:
        """Forgets rooms that have no home, the least recently claimed first, if their time is over or the table is full."""
        while self._rooms:
            room, oldest = next(iter(self._rooms.items()))
            full = len(self._rooms) >= ROOMS_LIMIT
            if oldest.home.instance in self._leases:
                if full:
                    raise Unavailable(f"The directory has {ROOMS_LIMIT} rooms already.")
                return
            if not full and oldest.claimed_at + ROOM_LIFETIME > now:
                return
            del self._rooms[room]

    def _drop_snapshot(self, room: str) -> None:
        if (known := self._snapshots.pop(room, None)) is not None:
            self._snapshot_bytes -= len(known.data)
