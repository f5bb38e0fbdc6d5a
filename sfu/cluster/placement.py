"""Places a new room on a node, and remembers where other rooms are. Pure: the caller provides the nodes and the random choice.

A room stays on the landing node unless that node is clearly busier than the least loaded one. Otherwise the better of two
random nodes gets it ("power of two choices"), so that nodes with the same outdated list do not choose the same node. Recent
joins count as load, because their media is not part of the measured load yet.
"""

from collections.abc import Callable, Collection, Mapping, Sequence

from sfu.cluster.ports import NodeInfo

TOLERANCE = 0.15
"""Difference of loads up to which the landing node keeps a new room."""
LOAD_PER_JOIN = 0.005
"""Expected load of a participant whose media has not started yet."""
FOUND_LIMIT = 10_000
"""Rooms of other nodes that are remembered. Beyond it, the one that was searched least recently is forgotten."""


def expected_load(node: NodeInfo) -> float:
    return node.load + node.joins * LOAD_PER_JOIN


def choose_node(
    nodes: Collection[NodeInfo], landing: str, choose: Callable[[Sequence[NodeInfo], int], Sequence[NodeInfo]]
) -> NodeInfo | None:
    """The node of a new room. `landing`: id of the landing node. `choose`: two random elements, as `random.sample` does.

    None: all nodes are draining."""
    candidates = [node for node in nodes if not node.draining]
    if not candidates:
        return None
    least = min(expected_load(node) for node in candidates)
    for node in candidates:
        if node.id == landing and expected_load(node) <= least + TOLERANCE:
            return node
    return min(choose(candidates, min(2, len(candidates))), key=expected_load)


class FoundHomes:
    """Homes on other nodes that this node has found, for clients that land here while the directory does not answer."""

    def __init__(self) -> None:
        self._nodes: dict[str, NodeInfo] = {}

    def remember(self, room: str, node: NodeInfo | None) -> None:
        """None: the room has no home on another node."""
        self._nodes.pop(room, None)
        if node is not None:
            self._nodes[room] = node
            if len(self._nodes) > FOUND_LIMIT:
                del self._nodes[next(iter(self._nodes))]

    def living(self, room: str, nodes: Mapping[str, NodeInfo]) -> NodeInfo | None:
        """The node of the last search, if it was in the last list of nodes."""
        found = self._nodes.get(room)
        known = nodes.get(found.id) if found is not None else None
        return known if known is not None and found is not None and known.instance == found.instance else None
