"""Placement of new rooms."""

import random
from collections.abc import Sequence
from dataclasses import replace

import pytest

from sfu.cluster.placement import FOUND_LIMIT, FoundHomes, choose_node
from sfu.cluster.ports import NodeInfo


def node(name: str, load: float, joins: int = 0, *, draining: bool = False) -> NodeInfo:
    return NodeInfo(id=name, instance=name + "1", url="", load=load, joins=joins, draining=draining)


def first(candidates: Sequence[NodeInfo], count: int) -> Sequence[NodeInfo]:
    return candidates[:count]


@pytest.mark.parametrize(
    ("nodes", "chosen"),
    [
        ([node("a", 0.2)], "a"),
        ([node("a", 0.25), node("b", 0.1)], "a"),
        ([node("a", 0.26), node("b", 0.1)], "b"),
        ([node("a", 0.9), node("b", 0.5), node("c", 0.4), node("d", 0.0)], "b"),
        ([node("a", 0.1, draining=True), node("b", 0.9)], "b"),
        ([node("a", 0.1, joins=40), node("b", 0.1)], "b"),  # 40 joins are not part of the load yet
        ([node("b", 0.5, joins=10), node("c", 0.52)], "c"),
        ([node("a", 0.1, draining=True)], None),
        ([], None),
    ],
)
def test_the_chosen_node(nodes: list[NodeInfo], chosen: str | None) -> None:
    found = choose_node(nodes, "a", first)
    assert (found.id if found else None) == chosen


def test_nodes_with_the_same_list_choose_different_nodes() -> None:
    nodes = [node("a", 1.0), *(node(f"n{number}", 0.1) for number in range(10))]
    sample = random.Random(1).sample
    assert len({found.id for _ in range(100) if (found := choose_node(nodes, "a", sample))}) == 10


def test_found_homes() -> None:
    found = FoundHomes()
    a, b = (NodeInfo(id=name, instance=f"{name}1", url="") for name in "ab")
    found.remember("one", a)
    found.remember("two", b)
    living = {"a": replace(a, load=0.5), "b": replace(b, instance="b2")}
    assert found.living("one", living) == living["a"]
    assert found.living("two", living) is None, "another process"
    assert found.living("one", {}) is None
    found.remember("one", None)
    assert found.living("one", living) is None
    for number in range(FOUND_LIMIT + 1):
        found.remember(f"room-{number}", a)
    assert [found.living(f"room-{number}", living) for number in (0, 1)] == [None, living["a"]]
