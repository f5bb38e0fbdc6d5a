"""A Redis that is killed, stalled, wiped or lies, and the number of commands that a cluster costs."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import pytest

from sfu.cluster import redis_connection
from sfu.cluster.ports import NodeInfo, Unavailable
from tests.cluster.drivers import Driver, connected
from tests.cluster.nodes import Node, opened
from tests.support.redis import RedisServer, running

NODE = NodeInfo(id="a", instance="a1", url="http://a:1")


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[RedisServer]:
    async with running(RedisServer(tmp_path)) as server:
        yield server


@pytest.fixture
async def driver(server: RedisServer) -> AsyncIterator[Driver]:
    async with connected(server) as driver:
        yield driver


async def test_killed_and_restarted(server: RedisServer, driver: Driver) -> None:
    await driver.directory.announce(NODE)
    async with asyncio.timeout(30), aclosing(driver.bus.read(["one"])) as reader:  # type: ignore[type-var]
        await driver.bus.publish("one", b"1")
        assert await anext(reader) == ("one", b"1")
        server.kill()
        with pytest.raises(Unavailable):
            await driver.directory.nodes()
        await server.start()
        assert not await driver.directory.announce(NODE)  # it has lost its state
        await driver.bus.publish("one", b"2")
        assert await anext(reader) == ("one", b"2")


async def test_stalled(server: RedisServer, driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    await driver.directory.announce(NODE)
    server.stall()
    began = time.monotonic()
    answers = await asyncio.gather(*(driver.directory.nodes() for _ in range(50)), return_exceptions=True)
    assert all(isinstance(answer, Unavailable) for answer in answers)
    assert time.monotonic() - began < 3 * redis_connection.TIMEOUT
    server.go_on()
    assert await driver.directory.announce(NODE)


@pytest.mark.parametrize("value", ["garbage", "\xff" * 1000, ""])
async def test_values_that_no_node_wrote(server: RedisServer, driver: Driver, value: str) -> None:
    directory = driver.directory
    await directory.announce(NODE)
    await server.command("HSET", "sfu:{nodes}:announcements", "a1", value)
    await server.command("SET", "sfu:{type}:home", value)
    await server.command("HSET", "sfu:{epoch}:home", "node", "a", "instance", "a1", "epoch", value)
    await server.command("HSET", "sfu:{missing}:home", "node", value, "instance", "x")
    assert await directory.nodes() == {}
    for room in ("type", "epoch", "missing"):
        with pytest.raises(Unavailable):
            await directory.home(room)
    await server.command("XADD", "sfu:{one}:stream", "*", "other", value)
    await driver.bus.publish("one", b"good")
    async with asyncio.timeout(30), aclosing(driver.bus.read(["one"])) as reader:  # type: ignore[type-var]
        assert await anext(reader) == ("one", b"good")


async def test_nodes_of_another_cluster(server: RedisServer, driver: Driver) -> None:
    async with connected(server, secrets=("f" * 32,)) as foreign:
        await foreign.directory.announce(NodeInfo(id="b", instance="b1", url="http://stranger"))
    await driver.directory.announce(NODE)
    assert await driver.directory.nodes() == {"a": NODE}


async def test_a_wrong_password(server: RedisServer) -> None:
    url = server.url.replace("redis-password", "another-password")
    async with connected(server, redis_url=url) as driver:
        with pytest.raises(Unavailable, match="AuthenticationError"):
            await driver.directory.nodes()


async def test_numbers_of_commands(server: RedisServer, driver: Driver) -> None:
    """Counted by Redis. A join can coincide with the announcements of both nodes, two commands each."""

    async def commands() -> int:
        counts = await server.command_counts()
        return sum(counts.get(name, 0) for name in ("evalsha", "eval", "get"))

    async def cost(node: Node, room: str) -> int:
        before = await commands()
        await node.join(room)
        return await commands() - before

    a, b = Node("a", driver.directory), Node("b", driver.directory)
    async with opened(a, b):
        await a.join("first")
        assert await b.join("first") == "a"
        assert await cost(a, "new") <= 2 + 4
        assert await cost(a, "new") <= 0 + 4
        assert await cost(b, "new") <= 3 + 4
        for number in range(200):
            await a.join(f"room{number}")
        # Idle rooms cost nothing: the nodes announce themselves, whatever the number of rooms. New nodes verify their rooms
        # for some seconds; that is over when nothing but announcements remains.
        a.membership.lease._verify_at = b.membership.lease._verify_at = float("inf")
        began, before = time.monotonic(), await commands()
        await asyncio.sleep(2.5)
        elapsed = time.monotonic() - began
        assert await commands() - before <= 2 * 2 * (elapsed + 2)
