"""A node's membership in the cluster: its lease, the homes of its rooms, and the placement of new rooms.

What the node may decide is the pure state machine in sfu/cluster/lease.py; this module connects it to the directory. A room
whose home is this node needs no request to the directory: joins, leaves and media never wait for it.
"""

import asyncio
import logging
import os
import random
import time
from collections.abc import Awaitable, Callable, Collection, Coroutine, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any, Protocol, TypeVar

from sfu.cluster.lease import NodeLease
from sfu.cluster.peers import PeerAnswer, Peers, is_dead
from sfu.cluster.placement import FoundHomes, choose_node
from sfu.cluster.ports import ANNOUNCE_INTERVAL, Directory, Fenced, Home, NodeInfo, Unavailable
from sfu.cluster.snapshots import Snapshots

log = logging.getLogger(__name__)

T = TypeVar("T")

RETRY = 0.25
"""Seconds between announcements while the directory does not answer."""
ANSWER_TIMEOUT = 1.2
"""Seconds for the directory to answer an announcement. Afterwards the node asks its peers, and they ask the directory for
`PEER_TIMEOUT` seconds, before its trust ends: a directory that hangs is as harmless as one that refuses connections."""
PEER_TIMEOUT = 0.5
NODES_AGE = 1.0
"""Seconds for which the list of nodes is cached."""
VERIFY_INTERVAL = 3_600.0
"""Seconds between two claims of the same room, which keep its record in the directory."""
UNUSED_AFTER = 30.0
"""Seconds after which a claim is released if its room was not created."""
CONCURRENCY = 32
"""Claims at the same time after an outage."""
ATTEMPTS = 4
"""Homes of a room that can turn out to be dead in one search."""


class RoomHost(Protocol):
    """The rooms of this process."""

    def rooms(self) -> Collection[str]:
        """Names of the rooms that exist in this process."""

    def take(self, room: str) -> bytes | None:
        """The snapshot of a room; None: it has ended."""

    def restore(self, room: str, snapshot: bytes) -> None:
        """Creates a room from the snapshot of its former home. Raises ValueError when the snapshot is malformed."""

    def lost(self, room: str) -> None:
        """Another node is the home of the room: closes the copy of this node. Its clients reconnect."""


class Membership:
    """A Placement. `info`: what this node announces; the membership fills in the instance.

    Create it in the event loop, then `open()`. `close()` ends the lease; rooms that still exist keep their snapshots for other
    nodes.
    """

    def __init__(
        self,
        directory: Directory,
        info: Callable[[], NodeInfo],
        host: RoomHost,
        snapshots: Snapshots,
        peers: Peers | None = None,
        is_dead: Callable[[NodeInfo], Awaitable[bool]] = is_dead,
    ) -> None:
        self._directory = directory
        self._info = info
        self._host = host
        self._snapshots = snapshots
        self._peers = peers
        self._is_dead = is_dead
        self.lease = NodeLease(new_instance())
        self._nodes: dict[str, NodeInfo] = {}
        self._nodes_at = float("-inf")
        self._claimed_at: dict[str, float] = {}
        self._found = FoundHomes()
        self._placing: dict[tuple[str, bool], asyncio.Task[NodeInfo | None]] = {}
        self._releasing: dict[str, asyncio.Task[None]] = {}
        self.moving: dict[str, asyncio.Task[NodeInfo]] = {}
        """Rooms that move to another node now. Requests about them wait."""
        self._announced = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._joined = asyncio.Event()
        self.takeovers = 0
        self.lost_rooms = 0

    # Life cycle

    def open(self) -> None:
        for work in (self._announce_forever(), self._verify_forever(), self._snapshots.run()):
            self._tasks.append(asyncio.create_task(_logged(work)))

    async def joined(self) -> None:
        """Waits for the first answer of the directory."""
        await self._joined.wait()

    async def close(self) -> None:
        tasks: list[asyncio.Task[Any]] = [*self._tasks, *self._placing.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, *self._releasing.values(), return_exceptions=True)
        self._tasks = []
        with suppress(Unavailable):
            await self._snapshots.save_changed()
            await self._directory.withdraw(self.lease.instance)

    # For the rest of the server

    @property
    def info(self) -> NodeInfo:
        return replace(self._info(), instance=self.lease.instance)

    def home_of(self, room: str) -> Home | None:
        """The home of a room that this node serves."""
        return self.lease.homes.get(room)

    @property
    def known_nodes(self) -> int:
        """Nodes in the last list of the directory."""
        return len(self._nodes)

    @property
    def cut_off(self) -> bool:
        """This node reaches neither the directory nor a peer, or does not reach them yet."""
        return not self.lease.trusted(time.monotonic())

    def decides(self, room: str) -> bool:
        """False: another node may have taken the room over, because this node reaches neither the directory nor its peers.
        Sessions and media continue."""
        return self.lease.decides(room, time.monotonic())

    def check_home(self, room: str) -> None:
        """Call it before a join, moderation or chat. Raises Unavailable (`cut_off`) if another node may decide about a room
        that this node serves."""
        if room in self.lease.homes and not self.decides(room):
            raise Unavailable("This server is cut off from its cluster. Try again in some seconds.", code="cut_off")

    def release(self, room: str) -> None:
        """The room has ended."""
        if (home := self.lease.homes.pop(room, None)) is not None:
            self._claimed_at.pop(room, None)
            task = self._releasing[room] = asyncio.create_task(self._release(room, home))
            task.add_done_callback(lambda _: self._releasing.pop(room, None))

    async def nodes(self, max_age: float = NODES_AGE) -> Mapping[str, NodeInfo]:
        """Living nodes by id. `max_age`: seconds. Raises Unavailable."""
        if time.monotonic() - self._nodes_at > max_age:
            await self._refresh_nodes()
        return self._nodes

    async def announce_for(self, node: NodeInfo) -> PeerAnswer:
        """Renews the lease of a peer that does not reach the directory."""
        if not self.lease.reachable:
            return self._without_directory(node)
        try:
            async with asyncio.timeout(PEER_TIMEOUT):
                if await self._directory.announce(node):
                    return PeerAnswer.RENEWED
                # The directory has lost its state. The peer cannot claim its rooms again without it.
                await self._directory.withdraw(node.instance)
            return PeerAnswer.NONE
        except (Unavailable, TimeoutError):
            return self._without_directory(node)
        except Fenced:
            return PeerAnswer.NONE

    def _without_directory(self, node: NodeInfo) -> PeerAnswer:
        return PeerAnswer.NO_DIRECTORY if self.lease.vouches_for(node.instance, time.monotonic()) else PeerAnswer.NONE

    def give_up(self, room: str) -> None:
        """Another node continues the room. The home in the directory stays as it is."""
        self.lease.homes.pop(room, None)
        self._claimed_at.pop(room, None)

    def keep(self, room: str, home: Home, given_up: float) -> None:
        """No other node continues the room, which was given up at this time: this node is still its home."""
        if not self.lease.adopt(room, home, given_up, time.monotonic()):
            # The lease has ended or the directory lost its state meanwhile. The home is verified before it decides.
            self.lease.homes[room] = Home(home.node, "", home.epoch)
        self._claimed_at[room] = time.monotonic()

    async def continue_room(self, room: str, former: str) -> bool:
        """Becomes the home of a room that its home, the instance `former`, has closed and saved. False: another node is the
        home. Raises Unavailable."""
        own, sent = self.info, time.monotonic()
        if not self.lease.trusted(sent):
            raise Unavailable("This node does not reach the directory.")
        try:
            home = await self._directory.claim(room, own.id, own.instance, over=former)
        except Fenced:
            raise Unavailable("The lease of this node has ended.") from None
        if home.instance != own.instance:
            return False
        await self._adopt(room, home, sent)
        return True

    async def find_home(self, room: str, *, create: bool) -> NodeInfo | None:
        if (moving := self.moving.get(room)) is not None:
            await asyncio.wait({moving})
        if room in self.lease.homes:
            return None
        # Requests for the same room share one search. It goes on when a client leaves.
        key = (room, create)
        task = self._placing.get(key)
        if task is None:
            task = self._placing[key] = asyncio.create_task(self._find(room, create))
            task.add_done_callback(lambda _: self._placing.pop(key, None))
        return await asyncio.shield(task)

    # Placement

    async def _find(self, room: str, create: bool) -> NodeInfo | None:
        try:
            found = await self._search(room, create)
        except Unavailable:
            # Without the directory, the node that was the home knows best whether it still is.
            if self.lease.reachable or (found := self._found.living(room, self._nodes)) is None:
                raise
        else:
            self._found.remember(room, found)
        return found

    async def _search(self, room: str, create: bool) -> NodeInfo | None:
        if (releasing := self._releasing.get(room)) is not None:
            await releasing
        over = ""
        for _ in range(ATTEMPTS):
            sent = time.monotonic()
            home = await (self._claim(room, over) if create else self._directory.home(room))
            if home is None:
                return None
            if home.instance == self.lease.instance:
                await self._adopt(room, home, sent)
                return None
            node = await self._living(home)
            if node is None:
                continue
            if not await self._is_dead(node):
                return node
            # The lease of a dead process ends now instead of in some seconds.
            log.warning("the home of a room is dead", extra={"room": room, "node": home.node})
            await self._directory.withdraw(home.instance)
            self._nodes.pop(home.node, None)
            self._saw_nodes()
            over, create = home.instance, True
        raise Unavailable("The room moves to another node. Try again.")

    async def _claim(self, room: str, over: str) -> Home:
        """Claims a room for the best node, unless it has a home."""
        if not self.lease.trusted(time.monotonic()):
            raise Unavailable("This node does not reach the directory.")
        if self.lease.settling(time.monotonic()):
            if (home := await self._directory.home(room)) is None:
                raise Unavailable("The nodes find each other again after an outage.")
            return home
        own = self.info
        nodes = {**await self.nodes(), own.id: own}
        node = choose_node(nodes.values(), own.id, random.sample) or own
        try:
            return await self._directory.claim(room, node.id, node.instance, over=over)
        except Fenced:
            self._nodes.pop(node.id, None)
            if node.instance == own.instance:
                raise Unavailable("The lease of this node has ended.") from None
            return await self._claim(room, over)

    async def _living(self, home: Home) -> NodeInfo | None:
        known = self._nodes.get(home.node)
        if known is None or known.instance != home.instance:
            await self._refresh_nodes()
            known = self._nodes.get(home.node)
        return known if known is not None and known.instance == home.instance else None

    async def _adopt(self, room: str, home: Home, sent: float) -> None:
        """This node is the home of a room that it does not serve yet. It continues the room if a former home has saved it.
        `sent`: when the home was requested."""
        snapshot = await self._snapshots.load(room) if home.epoch > 1 and room not in self._host.rooms() else None
        if home.instance != self.lease.instance or room in self.lease.homes:
            return
        if not self.lease.adopt(room, home, sent, time.monotonic()):
            await self._directory.release(room, home)
            raise Unavailable("The nodes find each other again after an outage.")
        self._claimed_at[room] = time.monotonic()
        if snapshot is not None and room not in self._host.rooms():
            try:
                self._host.restore(room, snapshot)
                self.takeovers += 1
            except ValueError:
                log.exception("the snapshot of a room cannot be restored", extra={"room": room})

    async def _refresh_nodes(self) -> None:
        self._nodes = dict(await self._directory.nodes())
        self._nodes_at = time.monotonic()
        self._saw_nodes()

    def _saw_nodes(self) -> None:
        self.lease.saw_nodes(node.instance for node in self._nodes.values())

    async def _release(self, room: str, home: Home) -> None:
        with suppress(Unavailable):
            await self._directory.release(room, home)

    # Lease

    async def _announce_forever(self) -> None:
        while True:
            began = time.monotonic()
            interval = ANNOUNCE_INTERVAL if await self.announce() else RETRY
            await asyncio.sleep(max(0.0, began + interval - time.monotonic()))

    async def announce(self) -> bool:
        """Renews the lease now. False: the directory did not answer, or the lease has ended."""
        lease, sent = self.lease, time.monotonic()
        try:
            known = await _answered(self._directory.announce(self.info))
            for room, home in lease.announced(known, sent, time.monotonic()).items():
                self.drop(room)
                await self._release(room, home)
            self._announced.set()
            await _answered(self._refresh_nodes())
        except Fenced:
            log.warning("the lease of this node has ended", extra={"rooms": len(lease.homes)})
            lease.fenced(new_instance(), time.monotonic())
            return False
        except Unavailable as error:
            if lease.reachable:
                log.warning("the directory does not answer", extra={"reason": error.message})
            lease.unavailable()
            await self._ask_peers()
            return False
        self._joined.set()
        return True

    async def _ask_peers(self) -> None:
        """A peer that reaches the directory renews the lease. If none does, no node can take a room over."""
        if self._peers is None or not self._joined.is_set():
            return
        own, sent = self.info, time.monotonic()
        others = [node for node in self._nodes.values() if node.id != own.id]
        answers = await asyncio.gather(*(self._peers.announce(node, own) for node in others))
        if PeerAnswer.RENEWED in answers:
            self.lease.renewed_by_peer(sent)
        elif all(answer is PeerAnswer.NO_DIRECTORY for answer in answers):
            self.lease.no_peer_reaches_directory(sent)

    async def _verify_forever(self) -> None:
        """Claims homes again after an outage, and each home once in an hour."""
        while True:
            await self._announced.wait()
            self._announced.clear()
            now, lease = time.monotonic(), self.lease
            everything = lease.verification_due(now)
            due = [room for room in lease.homes if everything or self._claimed_at[room] < now - VERIFY_INTERVAL]
            try:
                await self._verify(due)
            except (Unavailable, Fenced):
                lease.verification_failed(time.monotonic())
            self._release_unused(now)

    async def _verify(self, rooms: list[str]) -> None:
        """Raises Unavailable and Fenced."""
        gate = asyncio.Semaphore(CONCURRENCY)
        own = self.info

        async def verify(room: str) -> None:
            async with gate:
                if (before := self.lease.homes.get(room)) is None:
                    return
                epoch = self.lease.known_epoch(room, time.monotonic())
                home: Home | None
                if self.lease.may_claim_again(room, time.monotonic()):
                    home = await self._directory.claim(room, own.id, own.instance, epoch=epoch)
                elif (home := await self._directory.home(room)) is None:
                    return
                if self.lease.homes.get(room) != before:
                    # The room ended or moved meanwhile, or the lease did.
                    if room not in self.lease.homes and home.instance == own.instance:
                        await self._release(room, home)
                elif self.lease.claimed(room, home):
                    self._claimed_at[room] = time.monotonic()
                else:
                    self.drop(room)

        results = await asyncio.gather(*map(verify, rooms), return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result

    def drop(self, room: str) -> None:
        """Another node is the home of the room."""
        log.warning("another node can be the home of a room", extra={"room": room})
        self.lease.homes.pop(room, None)
        self._claimed_at.pop(room, None)
        self.lost_rooms += 1
        self._host.lost(room)

    def _release_unused(self, now: float) -> None:
        """Releases homes of rooms that were not created, e.g. because the join was refused."""
        existing = self._host.rooms()
        for room in [room for room, at in self._claimed_at.items() if at < now - UNUSED_AFTER and room not in existing]:
            self.release(room)


def new_instance() -> str:
    return os.urandom(12).hex()


async def _answered(request: Coroutine[Any, Any, T]) -> T:
    """Raises Unavailable after `ANSWER_TIMEOUT`."""
    try:
        async with asyncio.timeout(ANSWER_TIMEOUT):
            return await request
    except TimeoutError:
        raise Unavailable("The directory does not answer in time.") from None


async def _logged(work: Coroutine[Any, Any, None]) -> None:
    """The root of a task."""
    try:
        await work
    except Exception:
        log.exception("a task of the cluster membership failed")
        raise
