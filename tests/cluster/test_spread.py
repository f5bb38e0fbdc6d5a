"""One room on several real nodes: media, chat and moderation cross nodes; a node that is killed takes no one with it."""

from pathlib import Path
from typing import Any

from tests.cluster.calls import Calls, calls
from tests.cluster.redis_nodes import RedisNodes, redis_nodes

ROOM = "call-0"
SPREAD: dict[str, Any] = {"rooms__spread_above": 1}


async def participants(nodes: RedisNodes, node: str) -> list[str]:
    _, found, _ = await nodes.api(node, "GET", f"/rooms/{ROOM}/participants", ROOM)
    return sorted(each["id"] for each in found["participants"])


async def edges(nodes: RedisNodes) -> set[str]:
    """Nodes that serve the room without being its home."""
    return {node for node in nodes.nodes if await nodes.metric(node, "sfu_cluster_mirrored_rooms")}


def ids(running: Calls) -> list[str]:
    return sorted(bot.participant for bot in running.bots)


async def test_bots_on_three_nodes_are_in_one_call(tmp_path: Path) -> None:
    async with redis_nodes(tmp_path, "a", "b", "c", **SPREAD) as nodes, calls(nodes, rooms=1, size=4) as running:
        await running.flow()
        assert len(await edges(nodes)) == 2
        for node in nodes.nodes:
            assert await participants(nodes, node) == ids(running)
        # The home is killed: an edge or another node continues the room; chat and lock are kept.
        kill = await running.kill(0)
        assert kill.rooms == 1
        assert kill.faults == ()


async def test_bots_of_a_killed_edge_go_on_elsewhere(tmp_path: Path) -> None:
    async with redis_nodes(tmp_path, "a", "b", **SPREAD) as nodes, calls(nodes, rooms=1, size=3) as running:
        await running.flow()
        before = ids(running)
        (edge,) = await edges(nodes)
        await nodes.kill(edge)
        running.tracks.reset()
        await running.flow()
        (home,) = nodes.nodes
        assert ids(running) == before == await participants(nodes, home)


async def test_a_home_that_stops_hands_the_room_to_other_nodes(tmp_path: Path) -> None:
    async with redis_nodes(tmp_path, "a", "b", **SPREAD) as nodes, calls(nodes, rooms=1, size=3) as running:
        await running.flow()
        stop = await running.kill(0, nodes.stop)
        assert stop.faults == ()
