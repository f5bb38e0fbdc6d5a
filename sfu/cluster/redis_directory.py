"""A directory in Redis. The rules are those of sfu/cluster/directory_state.py, in Lua scripts.

| key | value |
|---|---|
| `sfu:{nodes}:leases` | sorted set: instance → end of its lease |
| `sfu:{nodes}:announcements` | hash: instance → signed announcement |
| `sfu:{ROOM}:home` | hash: node, instance, epoch |
| `sfu:{ROOM}:snapshot` | sealed snapshot |

A claim reads the leases in one slot and changes the record in another one. That is safe, because an instance whose lease
has ended never returns: the claim names the dead instance that it replaces, and the script compares it with the record.
"""

import asyncio
from collections.abc import Mapping
from urllib.parse import quote

import msgspec

from sfu.cluster import redis_scripts as scripts
from sfu.cluster.directory_state import NODES_LIMIT, ROOM_LIFETIME
from sfu.cluster.ports import LEASE, SNAPSHOT_LIFETIME, SNAPSHOT_LIMIT_BYTES, Fenced, Home, NodeInfo, Unavailable
from sfu.cluster.redis_connection import RedisConnection
from sfu.cluster.sealing import MAC_BYTES, Signer
from sfu.cluster.settings import Settings

INSTANCE_LIFETIME = 86_400.0
"""Seconds for which an ended instance is remembered."""
_ROOM_MS = int(ROOM_LIFETIME * 1000)


class RedisDirectory:
    """A Directory. Announcements are signed: Redis cannot send clients to a node that is not of this cluster."""

    def __init__(self, settings: Settings) -> None:
        """Raises ConfigurationError."""
        self._redis = RedisConnection(settings)
        self._prefix = settings.redis_prefix
        self._leases = f"{self._prefix}:{{nodes}}:leases"
        self._announcements = f"{self._prefix}:{{nodes}}:announcements"
        self._signer = Signer(settings.secrets, "announcements")
        self.refused = 0
        "Announcements that no node of this cluster signed."

    @property
    def requests(self) -> int:
        return self._redis.requests

    @property
    def errors(self) -> int:
        return self._redis.errors

    async def announce(self, node: NodeInfo) -> bool:
        content = msgspec.msgpack.encode(node)
        answer = await self._redis.run(
            scripts.ANNOUNCE,
            self._leases,
            self._announcements,
            node.instance,
            self._signer.sign(content) + content,
            int(LEASE * 1000),
            int(INSTANCE_LIFETIME * 1000),
            NODES_LIMIT,
        )
        if answer == scripts.ENDED:
            raise Fenced(f"the lease of instance {node.instance} has ended")
        if answer == scripts.FULL:
            raise Unavailable(f"The directory has {NODES_LIMIT} nodes already.")
        return bool(answer == 1)

    async def withdraw(self, instance: str) -> None:
        await self._redis.run(scripts.WITHDRAW, self._leases, self._announcements, instance)

    async def nodes(self) -> Mapping[str, NodeInfo]:
        answer = await self._redis.run(scripts.NODES, self._leases, self._announcements, NODES_LIMIT)
        found: dict[str, NodeInfo] = {}
        if answer:
            try:
                instances, announcements = answer
                for instance, announcement in zip(instances, announcements, strict=True):
                    node = self._verified(instance, announcement)
                    if node is not None:
                        found[node.id] = node
            except (ValueError, TypeError, AttributeError):
                raise _garbage("nodes") from None
        return found

    async def home(self, room: str) -> Home | None:
        home = _home(await self._redis.execute("HMGET", self._record(room), "node", "instance", "epoch"))
        return home if home is not None and await self._is_alive(home.instance) else None

    async def claim(self, room: str, node: str, instance: str, *, over: str = "", epoch: int = 0) -> Home:
        # One round trip for a new room, three for a takeover.
        alive, home = await asyncio.gather(
            self._is_alive(instance), self._claim(room, Home(node, instance, epoch), over)
        )
        if not alive:
            if home.instance == instance:
                await self.release(room, home)
            raise Fenced(f"the lease of instance {instance} has ended")
        if home.instance != instance and not await self._is_alive(home.instance):
            home = await self._claim(room, Home(node, instance, epoch), over, home.instance)
        return home

    async def release(self, room: str, home: Home) -> None:
        await self._redis.run(scripts.RELEASE, self._record(room), self._snapshot(room), home.instance, home.epoch)

    async def save(self, room: str, home: Home, snapshot: bytes) -> None:
        if len(snapshot) > SNAPSHOT_LIMIT_BYTES:
            raise ValueError(f"a snapshot of {len(snapshot)} bytes exceeds {SNAPSHOT_LIMIT_BYTES}")
        keys = (self._record(room), self._snapshot(room))
        lifetime = int(SNAPSHOT_LIFETIME * 1000)
        if not await self._redis.run(scripts.SAVE, *keys, home.instance, home.epoch, snapshot, lifetime):
            raise Fenced(f"epoch {home.epoch} of the room is over")

    async def load(self, room: str) -> bytes | None:
        snapshot = await self._redis.execute("GET", self._snapshot(room))
        if snapshot is not None and not isinstance(snapshot, bytes):
            raise _garbage("snapshot")
        return snapshot

    async def close(self) -> None:
        await self._redis.close()

    async def _is_alive(self, instance: str) -> bool:
        return bool(await self._redis.run(scripts.IS_ALIVE, self._leases, instance))

    async def _claim(self, room: str, claimant: Home, *dead: str) -> Home:
        first, second = (*dead, "", "")[:2]
        answer = await self._redis.run(
            scripts.CLAIM, self._record(room), claimant.node, claimant.instance, claimant.epoch, first, second, _ROOM_MS
        )
        home = _home(answer)
        if home is None:
            raise _garbage("home")
        return home

    def _verified(self, instance: bytes, announcement: bytes | None) -> NodeInfo | None:
        if announcement is None:
            return None
        mac, content = announcement[:MAC_BYTES], announcement[MAC_BYTES:]
        if self._signer.verify(content, mac):
            node = msgspec.msgpack.decode(content, type=NodeInfo)
            if node.instance == instance.decode():
                return node
        self.refused += 1
        return None

    def _record(self, room: str) -> str:
        return f"{self._prefix}:{{{quote(room, safe='')}}}:home"

    def _snapshot(self, room: str) -> str:
        return f"{self._prefix}:{{{quote(room, safe='')}}}:snapshot"


def _home(record: object) -> Home | None:
    """None: the room has no home. Raises Unavailable for a record that no node wrote."""
    match record:
        case [None, None, None] | [b"", b"", _]:
            return None
        case [bytes(node), bytes(instance), int(epoch) | bytes(epoch)]:
            try:
                return Home(node.decode(), instance.decode(), int(epoch))
            except ValueError:
                pass
    raise _garbage("home")


def _garbage(kind: str) -> Unavailable:
    return Unavailable(f"Redis holds a malformed value ({kind}).", code="directory_malformed")
