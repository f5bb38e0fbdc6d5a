"""The admin API for the nodes of a cluster. Any node answers; the node of the path or the home of the room does the work."""

import time
from typing import Annotated

from msgspec import Meta

from sfu.api.admin import PREFIX, Call, Operation
from sfu.api.ports import NodesPort
from sfu.api.schemas import RequestBody, Schema
from sfu.cluster.handover import NO_SUCH_NODE
from sfu.cluster.ports import NodeInfo
from sfu.cluster.settings import NODE_ID_LENGTH
from sfu.errors import Conflict, NotFound


class NodeState(Schema, frozen=True, kw_only=True):
    id: str
    url: str
    "Where other nodes reach it."
    load: float
    "Used share of its capacity, 0 to 1."
    rooms: int
    participants: int
    version: str
    draining: bool
    "It accepts no new rooms."
    age: float
    "Seconds since its start."

    @staticmethod
    def of(node: NodeInfo, now: float) -> "NodeState":
        """`now`: seconds since 1970."""
        return NodeState(
            id=node.id,
            url=node.url,
            load=round(node.load, 3),
            rooms=node.rooms,
            participants=node.participants,
            version=node.version,
            draining=node.draining,
            age=round(max(0.0, now - node.started_at), 1),
        )


class NodeList(Schema, frozen=True, kw_only=True):
    nodes: list[NodeState]


class MoveRoom(RequestBody, frozen=True, kw_only=True):
    node: Annotated[str, Meta(max_length=NODE_ID_LENGTH)] = ""
    "Id of the node that continues the room; empty: the best one."


def _nodes(call: Call) -> NodesPort:
    if call.services.nodes is None:
        raise Conflict(
            "This server is not a node of a cluster. Set cluster.redis_url, or start several workers.",
            code="no_cluster",
        )
    return call.services.nodes


def _own(call: Call) -> NodesPort:
    """Requests for other nodes were forwarded to them."""
    nodes = _nodes(call)
    if call.parameters["node"] != nodes.own.id:
        raise NotFound(NO_SUCH_NODE)
    return nodes


async def _list(call: Call) -> NodeList:
    now = time.time()
    return NodeList(nodes=[NodeState.of(node, now) for node in await _nodes(call).list()])


def _view(call: Call) -> NodeState:
    return NodeState.of(_own(call).own, time.time())


async def _drain(call: Call) -> NodeState:
    nodes = _own(call)
    await nodes.drain()
    return NodeState.of(nodes.own, time.time())


async def _undo_drain(call: Call) -> NodeState:
    nodes = _own(call)
    await nodes.undo_drain()
    return NodeState.of(nodes.own, time.time())


async def _move(call: Call) -> NodeState:
    nodes, body = _nodes(call), call.body
    assert isinstance(body, MoveRoom)
    call.services.rooms.find(call.room)
    return NodeState.of(await nodes.move(call.room, body.node), time.time())


_NODE = f"{PREFIX}/nodes/{{node}}"

OPERATIONS: tuple[Operation, ...] = (
    Operation(
        name="listNodes",
        method="GET",
        path=f"{PREFIX}/nodes",
        summary="Lists the living nodes of the cluster.",
        grant="list",
        run=_list,
        answer=NodeList,
    ),
    Operation(
        name="getNode",
        method="GET",
        path=_NODE,
        summary="Returns a node.",
        grant="list",
        run=_view,
        answer=NodeState,
    ),
    Operation(
        name="drainNode",
        method="POST",
        path=f"{_NODE}/drain",
        summary="Moves the rooms of a node to other nodes and places no new ones there. Returns when this has begun.",
        grant="operate",
        run=_drain,
        answer=NodeState,
    ),
    Operation(
        name="undoDrain",
        method="DELETE",
        path=f"{_NODE}/drain",
        summary="Lets a drained node take rooms again.",
        grant="operate",
        run=_undo_drain,
        answer=NodeState,
    ),
    Operation(
        name="moveRoom",
        method="POST",
        path=f"{PREFIX}/rooms/{{room}}/move",
        summary="Moves a room to another node, which the response describes. Its clients resume there.",
        grant="operate",
        run=_move,
        body=MoveRoom,
        answer=NodeState,
    ),
)
