"""Places a new room on a node. Pure: the caller provides the nodes and the random choice.

A room stays on the landing node unless that node is clearly busier than the least loaded one. Otherwise the better of two
random nodes gets it ("power of two choices"), so that nodes with the same outdated list do not choose the same node. Recent
joins count as load, because their media is not part of the measured load yet.
"""

from collections.abc import Callable, Collection, Sequence

from sfu.cluster.ports import NodeInfo

TOLERANCE = 0.15
"""Difference of loads up to which the landing node keeps a new room."""
LOAD_PER_JOIN = 0.005
"""Expected load of a participant whose media has not started yet."""


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
