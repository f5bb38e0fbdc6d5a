"""Nodes without media for the tests of the membership: what a server does with its rooms, in a dictionary."""

import asyncio
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from sfu.cluster.membership import Membership
from sfu.cluster.peers import PeerAnswer, Peers
from sfu.cluster.ports import Directory, Home, NodeInfo
from sfu.cluster.snapshots import Snapshots

SECRETS = ("s" * 32,)


@dataclass
class Rooms:
    """A RoomHost. The state of a room is one value."""

    states: dict[str, bytes] = field(default_factory=dict)
    lost_rooms: list[str] = field(default_factory=list)

    def rooms(self) -> Collection[str]:
        return self.states

    def take(self, room: str) -> bytes | None:
        return self.states.get(room)

    def restore(self, room: str, snapshot: bytes) -> None:
        if snapshot == b"malformed":
            raise ValueError(snapshot)
        self.states[room] = snapshot

    def lost(self, room: str) -> None:
        self.states.pop(room, None)
        self.lost_rooms.append(room)


class Node:
    """`dead`: ids of nodes whose port refuses connections."""

    def __init__(self, name: str, directory: Directory, dead: Collection[str] = (), peers: Peers | None = None) -> None:
        self.rooms = Rooms()
        self.load = 0.0
        self.draining = False
        self.name = name
        self._dead = dead
        self.snapshots = Snapshots(directory, SECRETS, self.rooms.states.get, self._home_of, self._lost)
        self.membership = Membership(directory, self._info, self.rooms, self.snapshots, peers, self._is_dead)

    @property
    def instance(self) -> str:
        return self.membership.lease.instance

    async def join(self, room: str) -> str:
        """The id of the node that serves the room."""
        home = await self.membership.find_home(room, create=True)
        if home is not None:
            return home.id
        self.rooms.states.setdefault(room, b"")
        return self.name

    async def change(self, room: str, state: bytes) -> None:
        """Changes a room and saves it."""
        self.rooms.states[room] = state
        self.snapshots.room_changed(room)
        await self.snapshots.save_changed()

    def end(self, room: str) -> None:
        del self.rooms.states[room]
        self.membership.release(room)

    def _info(self) -> NodeInfo:
        return NodeInfo(id=self.name, instance="", url="", load=self.load, draining=self.draining)

    def _home_of(self, room: str) -> Home | None:
        return self.membership.home_of(room)

    def _lost(self, room: str) -> None:
        self.membership.drop(room)

    async def _is_dead(self, node: NodeInfo) -> bool:
        await asyncio.sleep(0)
        return node.id in self._dead


@asynccontextmanager
async def opened(*nodes: Node) -> AsyncIterator[None]:
    """Nodes that have joined the cluster."""
    for node in nodes:
        node.membership.open()
        await node.membership.joined()
    for node in nodes:
        await node.membership.announce()  # all know all
    try:
        yield
    finally:
        for node in nodes:
            await node.membership.close()


@dataclass
class ConnectedPeers:
    """Peers in the same process."""

    nodes: dict[str, Node] = field(default_factory=dict)
    unreachable: set[str] = field(default_factory=set)

    async def announce(self, peer: NodeInfo, node: NodeInfo) -> PeerAnswer:
        if peer.id in self.unreachable:
            return PeerAnswer.NONE
        return await self.nodes[peer.id].membership.announce_for(node)
