"""Three real nodes whose Redis stops, dies or loses its state while rooms run. The tests share the nodes."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from sfu.cluster.lease import PEER_TRUST, TRUST, VERIFY_TIME
from tests.cluster.redis_nodes import GRANTS, RedisNodes, redis_nodes
from tests.cluster.test_workers import media_flow
from tests.support.client import Client

pytestmark = pytest.mark.asyncio(loop_scope="module")
NODES = ("a", "b", "c")
REACHABLE = "sfu_cluster_directory_reachable"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cluster(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RedisNodes]:
    async with redis_nodes(tmp_path_factory.mktemp("cluster"), *NODES) as found:
        yield found


@pytest_asyncio.fixture(loop_scope="module")
async def running(cluster: RedisNodes) -> AsyncIterator[RedisNodes]:
    """The nodes, without clients and rooms of other tests."""
    yield cluster
    await cluster.close_clients()
    for node in NODES:
        for room in await cluster.served(node):
            await cluster.api(node, "DELETE", f"/rooms/{room}", room)


async def decides(running: RedisNodes, client: Client, text: str) -> bool:
    """Chat needs the home."""
    return bool((await client.request("chat", text=text))["type"] == "ok")


async def verified(since: float) -> None:
    """Nodes that have just come or found Redis again cannot help each other for some seconds (`NodeLease._verified`)."""
    await asyncio.sleep(since + VERIFY_TIME + 1.5 - time.monotonic())


async def test_rooms_do_not_notice_that_redis_is_away(running: RedisNodes) -> None:
    ada = await running.join("a", "call", "ada", *GRANTS)
    bob = await running.join("a", "call", "bob")
    far = await running.join("b", "call", "far")
    other = await running.join("c", "other", "eve", *GRANTS)
    assert await running.homes("call", "other") == {"call": "a", "other": "c"}
    await ada.publish()
    await media_flow(ada, bob, far)
    await verified(running.up_at)

    async def unaffected(seconds: float) -> None:
        began = time.monotonic()
        while time.monotonic() < began + seconds:
            assert all([await decides(running, client, "still here") for client in (ada, far, other)])
            await media_flow(ada, bob, far)
            assert [await running.metric(node, "sfu_cluster_cut_off") for node in NODES] == [0, 0, 0]

    # First it hangs, then it refuses connections, then it has lost its state.
    running.redis.stall()
    await unaffected(TRUST + 1.0)  # the nodes find that none of them reaches Redis
    assert [await running.metric(node, REACHABLE) for node in NODES] == [0, 0, 0]
    running.redis.kill()
    await unaffected(PEER_TRUST + 0.5)
    newcomer = await running.join("a", "call", "newcomer")
    await running.join("b", "call", "another")  # the node remembers the home
    await media_flow(ada, newcomer)
    for node in NODES:
        status, problem, retry_after = await running.api(node, "POST", "/rooms", json={"name": "new"})
        assert (status, problem["code"]) == (503, "directory_unavailable")
        assert int(retry_after) > 0
    refused = await running.connect("b", "new", "zoe", *GRANTS)
    assert (await refused.join())["code"] == "directory_unavailable"

    await running.redis.start()

    async def placed() -> bool:
        return (await running.api("b", "POST", "/rooms", json={"name": "new"}))[0] == 201

    await running.until(placed)
    assert await running.homes("call", "other", "new") == {"call": "a", "other": "c", "new": "b"}
    assert [await running.served(node) for node in NODES] == [{"call"}, {"new"}, {"other"}]
    await media_flow(ada, bob, far)
    assert not any(client.closed.is_set() for client in (ada, bob, far, other, newcomer))
    assert [await running.metric(node, "sfu_cluster_lost_rooms_total") for node in NODES] == [0, 0, 0]


async def test_all_rooms_keep_their_homes_when_redis_is_wiped(running: RedisNodes) -> None:
    rooms = [f"room-{number}" for number in range(9)]
    homes = {room: NODES[number % 3] for number, room in enumerate(rooms)}
    clients = [await running.join(home, room, "ada", *GRANTS) for room, home in homes.items()]
    far = await running.join("b", rooms[0], "far")
    await clients[0].publish()
    await media_flow(clients[0], far)
    assert await running.homes(*rooms) == homes
    await running.redis.command("FLUSHALL")

    async def announced() -> bool:
        return await running.homes(*rooms) == homes

    await running.until(announced)
    # A claim that came first would show now: the nodes place unknown rooms again.

    async def placed() -> bool:
        return (await running.api("c", "POST", "/rooms", json={"name": "new"}))[0] == 201

    await running.until(placed)
    assert await running.homes(*rooms) == homes
    served = [await running.served(node) for node in NODES]
    homes["new"] = "c"
    assert served == [{room for room, home in homes.items() if home == node} for node in NODES]
    assert not any(client.closed.is_set() for client in (*clients, far))
    await media_flow(clients[0], far)
    assert await decides(running, far, "still here")
    assert [await running.metric(node, "sfu_cluster_lost_rooms_total") for node in NODES] == [0, 0, 0]
