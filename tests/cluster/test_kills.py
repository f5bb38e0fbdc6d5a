"""Nodes are killed while bots are in calls: another node continues each room, with its people, its chat and its lock."""

from pathlib import Path

from tests.cluster.calls import calls
from tests.cluster.redis_nodes import redis_nodes

ROUNDS = 2
"""`tests.bench.cluster` does it fifty times with thirty bots."""


async def test_calls_go_on_when_their_node_is_killed(tmp_path: Path) -> None:
    async with redis_nodes(tmp_path, "a", "b", "c") as nodes, calls(nodes, rooms=3, size=2) as running:
        await running.flow()
        for number in range(ROUNDS):
            tracks = {bot.participant: set(bot._own) for bot in running.bots}
            # The second node stops by SIGTERM: it hands its rooms over.
            kill = await running.kill(number, nodes.stop if number else nodes.kill)
            assert {bot.participant: set(bot._own) for bot in running.bots} == tracks, "tracks keep their ids"
            assert kill.rooms > 0
            assert kill.faults == ()
            # The restored rooms count as taken over at one node each, and their people as returned.
            takeovers = sum([await nodes.metric(node, "sfu_cluster_takeovers_total") for node in nodes.nodes])
            rebuilt = sum([await nodes.metric(node, "sfu_sessions_rebuilt_total") for node in nodes.nodes])
            assert takeovers >= kill.rooms
            assert rebuilt >= 2 * kill.rooms
            await nodes.start(kill.node)
            await nodes.all_nodes("sfu_cluster_nodes", 3)
