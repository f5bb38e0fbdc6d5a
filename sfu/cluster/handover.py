"""Moves a room from its home to another living node.

The home asks the target whether it accepts the room. Then it closes its copy, saves the last state and asks the target to
continue. The target claims the room, which ends the home of the sender, and restores it. Clients get `leave` with the reason
`moved` and resume on any node; requests about the room wait until the move ends. If the target does not continue the room,
the home restores it.
"""

import asyncio
import random
import time
from collections.abc import Callable
from typing import Protocol

import msgspec

from sfu.cluster.membership import Membership, RoomHost
from sfu.cluster.placement import choose_node
from sfu.cluster.ports import SNAPSHOT_LIMIT_BYTES, Directory, Fenced, Home, NodeInfo, Unavailable
from sfu.cluster.snapshots import Snapshots
from sfu.errors import AtCapacity, Conflict, NotFound

NO_SUCH_NODE = "There is no such node in this cluster."
NO_TARGET = "No other node accepts rooms."
SNAPSHOT_MARGIN_BYTES = 64 << 10
"""Room for the seal, and for changes between the check and the last snapshot."""


class ContinueRoom(msgspec.Struct, frozen=True, array_like=True):
    """A request to the target."""

    room: str
    former: str
    "The instance that was the home; empty: the target only answers whether it would accept the room."


class Target(Protocol):
    async def continue_room(self, node: NodeInfo, request: ContinueRoom) -> None:
        """Sends the request to another node. Raises Unavailable when it does not answer, AtCapacity when it refuses."""


class Handover:
    """`refusal`: why this node accepts no rooms; empty: it does."""

    def __init__(
        self,
        directory: Directory,
        membership: Membership,
        host: RoomHost,
        snapshots: Snapshots,
        target: Target,
        refusal: Callable[[], str],
    ) -> None:
        self._directory = directory
        self._membership = membership
        self._host = host
        self._snapshots = snapshots
        self._target = target
        self._refusal = refusal

    async def move(self, room: str, node: str = "") -> NodeInfo:
        """Moves a room of this node. Returns its new home. `node`: empty: the best one.

        Raises NotFound for a room or a node that does not exist, Conflict, AtCapacity when the target refuses, and Unavailable.
        """
        membership = self._membership
        if room in membership.moving:
            raise Conflict("The room is being moved already.")
        task = membership.moving[room] = asyncio.create_task(self._move(room, node))
        task.add_done_callback(lambda _: membership.moving.pop(room, None))
        return await asyncio.shield(task)

    async def answer(self, request: ContinueRoom) -> None:
        """Another node asks this one to continue a room. Raises AtCapacity, Conflict and Unavailable."""
        if reason := self._refusal():
            raise AtCapacity(f"The node {self._membership.info.id} accepts no rooms: {reason}.")
        if request.former and not await self._membership.continue_room(request.room, request.former):
            raise Conflict("Another node is the home of the room.")

    async def _move(self, room: str, node_id: str) -> NodeInfo:
        membership = self._membership
        home = membership.home_of(room)
        if home is None or room not in self._host.rooms():
            raise NotFound("There is no such room.")
        if not membership.lease.reachable or not membership.decides(room):
            raise Unavailable("This node does not reach the directory.")
        target = await self._choose(node_id)
        snapshot = self._host.take(room)
        if snapshot is None or membership.home_of(room) != home:
            raise Conflict("The room has ended or moved meanwhile.")
        if len(snapshot) > SNAPSHOT_LIMIT_BYTES - SNAPSHOT_MARGIN_BYTES:
            raise Conflict("The state of the room is too large to move.")
        closed: list[bytes] = []

        def close() -> bytes:
            last = self._host.take(room)
            if last is None or membership.home_of(room) != home:
                raise Conflict("The room has ended or moved meanwhile.")
            closed.append(last)
            membership.give_up(room)
            self._host.lost(room)
            return last

        began = time.monotonic()
        try:
            await self._snapshots.save_last(room, home, close)
            await self._target.continue_room(target, ContinueRoom(room, home.instance))
        except (Unavailable, AtCapacity, Conflict, Fenced, ValueError) as error:
            if not closed or not await self._take_back(room, home, closed[0], began):
                raise
            reason = getattr(error, "message", "the directory refused its state")
            raise AtCapacity(f"The room stays where it is: {reason}") from error
        return target

    async def _choose(self, node_id: str) -> NodeInfo:
        """A node that accepts rooms."""
        nodes, own = await self._membership.nodes(max_age=0.0), self._membership.info.id
        if node_id:
            if node_id == own:
                raise Conflict("The room is on this node already.")
            if node_id not in nodes:
                raise NotFound(NO_SUCH_NODE)
            await self._target.continue_room(nodes[node_id], ContinueRoom("", ""))
            return nodes[node_id]
        others = {node.id: node for node in nodes.values() if node.id != own}
        refused = ""
        while (target := choose_node(others.values(), "", random.sample)) is not None:
            try:
                await self._target.continue_room(target, ContinueRoom("", ""))
                return target
            except AtCapacity as error:
                refused = error.message
                del others[target.id]
        raise AtCapacity(refused or NO_TARGET)

    async def _take_back(self, room: str, home: Home, snapshot: bytes, began: float) -> bool:
        """Continues the room here, unless another node has become its home. True: this node continues it."""
        try:
            current = await self._directory.home(room)
        except Unavailable:
            current = home
        if current is not None and current.instance != home.instance:
            return False
        self._membership.keep(room, home, began)
        self._host.restore(room, snapshot)
        return True
