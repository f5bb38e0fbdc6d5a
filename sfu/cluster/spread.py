"""Rooms on several nodes: this node as the home of edges, and as an edge of other homes.

The home of a room asks other nodes to serve further participants when it serves `rooms.spread_above` of them. The landing node
of such a participant becomes an edge of the room.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol, cast

from sfu.cluster import room_wire
from sfu.cluster.ports import Home, NodeInfo, Unavailable
from sfu.cluster.room_links import Link, RoomLinks
from sfu.cluster.room_media import Relay, RoomMedia
from sfu.errors import AtCapacity, RemoteError
from sfu.rooms.lobby import WaitingParticipant
from sfu.rooms.mirror.edge import EdgeMirror
from sfu.rooms.mirror.home import HomeMirror
from sfu.rooms.mirror.messages import Detach, EdgeMessage, HomeMessage
from sfu.rooms.participant import Participant, ParticipantSink, Profile
from sfu.rooms.registry import Rooms
from sfu.rooms.room import Room

log = logging.getLogger(__name__)

JOIN_TIMEOUT: Final = 5.0
"""Seconds for the home to answer a join."""
INTERVAL: Final = 0.5
"""Seconds between checks of homes and edges."""
UNUSED_AFTER: Final = 5.0
"""Seconds without own participants after which an edge leaves a room."""
CUT_OFF_AFTER: Final = 5.0
"""Seconds without a link after which an edge refuses commands."""
REATTACH: Final = 0.2
"""Seconds between attempts to open a link."""
WANTED_AGE: Final = 1.0
"""Seconds for which the answer of a home is remembered that asks for edges, or does not."""
WANTED_LIMIT: Final = 10_000
EDGE_LOST_AFTER: Final = 10.0
"""Seconds without a link after which an edge that still announces itself counts as gone."""


class Membership(Protocol):
    def home_of(self, room: str) -> Home | None: ...

    async def find_home(self, room: str, *, create: bool) -> NodeInfo | None: ...

    async def nodes(self) -> Mapping[str, NodeInfo]: ...


class Nodes(Protocol):
    """Requests to other nodes."""

    async def asks_for_edges(self, node: NodeInfo, room: str) -> bool:
        """`Spread.asks_for_edges` of another node; False: it does not answer."""

    async def is_dead(self, node: NodeInfo) -> bool:
        """There is proof that the process of the node is dead."""


@dataclass(eq=False)
class _Edge:
    """An edge of a room whose home is this node."""

    mirror: HomeMirror
    link: Link | None
    lost_at: float = 0.0


@dataclass(eq=False)
class _MirroredRoom:
    """A room of which this node is an edge."""

    room: Room
    home: NodeInfo
    mirror: EdgeMirror
    link: Link | None = None
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    used_at: float = 0.0
    linked_at: float = 0.0
    "When the link last worked."


class EdgeJoin:
    """A join that the home has accepted. `take` it or `abandon` it."""

    def __init__(self, mirrored: _MirroredRoom, request: int) -> None:
        self._mirrored = mirrored
        self._request = request

    def take(self, sink: ParticipantSink) -> Participant | WaitingParticipant:
        """Raises RemoteError when the home has refused the join."""
        return self._mirrored.mirror.take(self._request, sink)

    def abandon(self) -> None:
        """Idempotent, and without effect after `take`."""
        self._mirrored.mirror.abandon(self._request)


class Spread:
    """Create it in the event loop; `run` it until the node leaves the cluster."""

    def __init__(
        self,
        rooms: Rooms,
        membership: Membership,
        relay: Relay,
        node: str,
        nodes: Nodes,
        refusal: Callable[[], str] = lambda: "",
    ) -> None:
        """`node`: id of this node. `refusal`: why it takes no further rooms; empty: it does."""
        self._rooms = rooms
        self._membership = membership
        self._relay = relay
        self._node = node
        self._nodes = nodes
        self._refusal = refusal
        self._wanted_by: dict[str, tuple[bool, float, str]] = {}
        self.links: RoomLinks
        "Set before `run`: the links accept through `accept`."
        self._media: dict[str, RoomMedia] = {}
        self._edges: dict[tuple[str, str], _Edge] = {}
        self._mirrored: dict[str, _MirroredRoom] = {}
        self._requests = 0
        self._reattaching: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Checks homes and edges until cancelled."""
        while True:
            await asyncio.sleep(INTERVAL)
            try:
                await self.check()
            except Unavailable:
                continue
            except Exception:
                log.exception("a check of the rooms on several nodes failed")

    def close(self) -> None:
        """Edges look for the next home of their rooms."""
        for task in self._reattaching:
            task.cancel()
        for edge in self._edges.values():
            if edge.link is not None:
                edge.link.end()
        for mirrored in self._mirrored.values():
            if mirrored.link is not None:
                mirrored.link.close()
        for media in self._media.values():
            media.close()
        self._media.clear()

    def drain(self) -> None:
        """Moves the clients of mirrored rooms to other nodes."""
        for name, mirrored in list(self._mirrored.items()):
            self._leave(name, mirrored)

    @property
    def edges(self) -> int:
        """Edges of the rooms of this node."""
        return len(self._edges)

    @property
    def mirrored(self) -> int:
        """Rooms of which this node is an edge."""
        return len(self._mirrored)

    def asks_for_edges(self, room: str) -> bool:
        """Whether this node, the home of a room, wants other nodes to serve further participants."""
        limit = self._rooms.settings.spread_above
        if not limit or not self._rooms.has(room) or self._membership.home_of(room) is None:
            return False
        members = self._rooms.find(room).members
        return sum(not member.shadow for member in members) >= limit

    # -- this node is an edge ---------------------------------------------------------------------------------------

    async def join(self, room: str, home: NodeInfo, profile: Profile) -> EdgeJoin | None:
        """Asks the home to let a client in that this node serves. None: the home serves it itself. Raises RemoteErrors."""
        if not self._rooms.settings.spread_above or self._refusal() or not await self._wanted(room, home):
            return None
        mirrored = self._mirrored.get(room)
        if mirrored is None:
            mirrored = self._mirror(room, home)
        self._requests += 1
        request = self._requests
        mirrored.used_at = time.monotonic()
        mirrored.mirror.enter(request, profile)
        try:
            async with asyncio.timeout(JOIN_TIMEOUT):
                while not (mirrored.mirror.answered(request) and mirrored.mirror.synchronized):
                    mirrored.changed.clear()
                    await mirrored.changed.wait()
        except BaseException as error:
            mirrored.mirror.abandon(request)
            if isinstance(error, TimeoutError):
                raise Unavailable("The node of this room does not answer. Try again.") from None
            raise
        return EdgeJoin(mirrored, request)

    async def _wanted(self, room: str, home: NodeInfo) -> bool:
        """Whether the home wants this node to serve a participant; remembered for `WANTED_AGE` seconds."""
        known = self._wanted_by.get(room)
        if known is None or known[1] < time.monotonic() or known[2] != home.instance:
            if len(self._wanted_by) >= WANTED_LIMIT:
                self._wanted_by.clear()
            wanted = await self._nodes.asks_for_edges(home, room)
            known = self._wanted_by[room] = (wanted, time.monotonic() + WANTED_AGE, home.instance)
        return known[0]

    def _mirror(self, name: str, home: NodeInfo) -> _MirroredRoom:
        room = self._rooms.mirror(name)
        media = self._media[name] = RoomMedia(room, self._relay, home.id)
        mirrored = self._mirrored[name] = _MirroredRoom(room, home, EdgeMirror(room, _nowhere, media))
        mirrored.linked_at = time.monotonic()
        self._attach(name, mirrored)
        log.info("this node is an edge of a room", extra={"room": name, "home": home.id})
        return mirrored

    def _attach(self, name: str, mirrored: _MirroredRoom) -> None:
        """Opens a link to the home."""
        if mirrored.link is not None:
            mirrored.link.close()
        link = mirrored.link = self.links.open(name, mirrored.home.id, mirrored.home.inbox)

        def receive(data: bytes) -> None:
            mirrored.mirror.receive(cast("HomeMessage", room_wire.decode(data)))
            mirrored.linked_at = time.monotonic()
            mirrored.changed.set()

        def lost() -> None:
            mirrored.link = None
            mirrored.mirror.reconnect(_nowhere)
            self._soon(self._reattach(name, mirrored))

        link.receive, link.lost = receive, lost

        def send(message: EdgeMessage) -> None:
            link.send(room_wire.encode(message))

        mirrored.mirror.reconnect(send)
        mirrored.mirror.attach()

    async def _reattach(self, name: str, mirrored: _MirroredRoom) -> None:
        await asyncio.sleep(REATTACH)
        if self._mirrored.get(name) is mirrored and mirrored.link is None:
            await self._follow(name, mirrored)
            if self._mirrored.get(name) is mirrored and mirrored.link is None:
                self._attach(name, mirrored)

    async def _follow(self, name: str, mirrored: _MirroredRoom) -> None:
        """Finds the home of a mirrored room again: it may be another node, or this one."""
        home = await self._membership.find_home(name, create=True)
        if self._mirrored.get(name) is not mirrored:
            return
        if home is None:
            self._promote(name, mirrored)
        elif home.instance != mirrored.home.instance or home.inbox != mirrored.home.inbox:
            log.info("a mirrored room has another home", extra={"room": name, "home": home.id})
            mirrored.home = home
            self._media[name].home_changed(home.id)
            self._attach(name, mirrored)

    def continue_room(self, name: str) -> None:
        """This node has become the home of a room. Idempotent."""
        mirrored = self._mirrored.get(name)
        if mirrored is not None:
            self._promote(name, mirrored)

    def _promote(self, name: str, mirrored: _MirroredRoom) -> None:
        """The home is gone, and this node continues the room."""
        log.warning("this node continues a room of a lost home", extra={"room": name, "home": mirrored.home.id})
        del self._mirrored[name]
        if mirrored.link is not None:
            mirrored.link.close()
        mirrored.mirror.promote()
        self._media[name].home_changed(self._node)
        self._rooms.promote(name)

    def _leave(self, name: str, mirrored: _MirroredRoom) -> None:
        del self._mirrored[name]
        if mirrored.link is not None:
            mirrored.link.send(room_wire.encode(Detach()))
            mirrored.link.close()
        mirrored.mirror.close()
        self._media.pop(name).close()
        self._rooms.drop_mirror(name)

    # -- this node is the home --------------------------------------------------------------------------------------

    def accept(self, link: Link) -> bool:
        """A node wants to serve participants of a room of this node."""
        if self._membership.home_of(link.room) is None or not self._rooms.has(link.room) or link.room in self._mirrored:
            return False
        room = self._rooms.find(link.room)
        media = self._media.get(link.room)
        if media is None:
            media = self._media[link.room] = RoomMedia(room, self._relay, self._node)
        key = (link.room, link.node)
        edge = self._edges.get(key)
        if edge is None:
            mirror = HomeMirror(room, link.node, _nowhere, media, self._rooms.idle_timeout(link.room))
            edge = self._edges[key] = _Edge(mirror, None)
            log.info("a room has another edge", extra={"room": link.room, "edge": link.node})
        if edge.link is not None:
            edge.link.close()
        edge.link = link
        found = edge

        def lost() -> None:
            if found.link is link:
                found.link = None
                found.lost_at = time.monotonic()
                found.mirror.reconnect(_nowhere)

        def receive(data: bytes) -> None:
            message = cast("EdgeMessage", room_wire.decode(data))
            found.mirror.receive(message)
            if isinstance(message, Detach):
                self._remove(key, found)

        def send(message: HomeMessage) -> None:
            link.send(room_wire.encode(message))

        link.receive, link.lost = receive, lost
        edge.mirror.reconnect(send)
        return True

    def _remove(self, key: tuple[str, str], edge: _Edge) -> None:
        """An edge has left, or is gone: its participants are away."""
        self._edges.pop(key, None)
        if edge.link is not None:
            edge.link.end()
        edge.mirror.detach()
        self._rooms.await_return(key[0])
        if not any(room == key[0] for room, _ in self._edges) and key[0] not in self._mirrored:
            media = self._media.pop(key[0], None)
            if media is not None:
                media.close()

    # -- checks -----------------------------------------------------------------------------------------------------

    async def check(self) -> None:
        """Raises Unavailable."""
        now = time.monotonic()
        for name, mirrored in list(self._mirrored.items()):
            if mirrored.mirror.occupied:
                mirrored.used_at = now
            if now - mirrored.used_at > UNUSED_AFTER:
                self._leave(name, mirrored)
        if not self._edges and not self._mirrored:
            return
        nodes = await self._membership.nodes()
        for key, edge in list(self._edges.items()):
            lost = edge.link is None and now - edge.lost_at > EDGE_LOST_AFTER
            if key[1] not in nodes or lost or not self._rooms.has(key[0]):
                self._remove(key, edge)
        for name, mirrored in list(self._mirrored.items()):
            if mirrored.mirror.reports.overflowed and mirrored.link is not None:
                self._attach(name, mirrored)
            known = nodes.get(mirrored.home.id)
            if known is None or known.instance != mirrored.home.instance or await self._nodes.is_dead(mirrored.home):
                await self._follow(name, mirrored)

    def check_link(self, room: str) -> None:
        """Call it before a decision in a room. Raises AtCapacity (`cut_off`) when this edge does not reach the home."""
        mirrored = self._mirrored.get(room)
        if mirrored is not None and mirrored.link is None and time.monotonic() - mirrored.linked_at > CUT_OFF_AFTER:
            raise AtCapacity(
                "This server is cut off from the one of this room. Try again in some seconds.", code="cut_off"
            )

    def _soon(self, work: Coroutine[object, object, None]) -> None:
        async def run() -> None:
            try:
                await work
            except RemoteError as error:
                log.info("the home of a mirrored room is not reachable", extra={"reason": error.message})

        task = asyncio.create_task(run())
        self._reattaching.add(task)
        task.add_done_callback(self._reattaching.discard)


def _nowhere(message: EdgeMessage | HomeMessage) -> None:
    """There is no link: the next one begins with the whole state."""
