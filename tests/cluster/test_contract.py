"""The contract of `Directory` and `Bus`, for each driver."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest

from sfu.cluster.ports import MESSAGE_LIMIT_BYTES, SNAPSHOT_LIMIT_BYTES, Bus, Directory, Fenced, Home, NodeInfo
from tests.cluster.drivers import DRIVERS, Driver


@pytest.fixture(params=DRIVERS)
async def driver(request: pytest.FixtureRequest) -> AsyncIterator[Driver]:
    async with DRIVERS[request.param]() as driver:
        yield driver


@pytest.fixture
def directory(driver: Driver) -> Directory:
    return driver.directory


@pytest.fixture
def bus(driver: Driver) -> Bus:
    return driver.bus


def node(name: str, instance: str = "", load: float = 0.0) -> NodeInfo:
    return NodeInfo(id=name, instance=instance or f"{name}1", url=f"http://{name}:7883", load=load, version="1.2")


async def test_announced_nodes_are_listed(directory: Directory) -> None:
    assert await directory.nodes() == {}
    assert not await directory.announce(node("a"))
    assert not await directory.announce(node("b"))
    assert await directory.announce(node("a", load=0.5))
    assert await directory.nodes() == {"a": node("a", load=0.5), "b": node("b")}


async def test_a_withdrawn_instance_does_not_return(directory: Directory) -> None:
    await directory.announce(node("a"))
    await directory.withdraw("a1")
    await directory.withdraw("a1")
    await directory.withdraw("unknown")
    assert await directory.nodes() == {}
    for instance in ("a1", "unknown"):
        with pytest.raises(Fenced):
            await directory.announce(node("a", instance))
    assert not await directory.announce(node("a", "a2"))
    assert await directory.nodes() == {"a": node("a", "a2")}


async def test_the_first_claim_wins(directory: Directory) -> None:
    await directory.announce(node("a"))
    await directory.announce(node("b"))
    assert await directory.home("room") is None
    homes = await asyncio.gather(*(directory.claim("room", name, f"{name}1") for name in "abab"))
    assert len(set(homes)) == 1
    assert homes[0].epoch == 1
    assert await directory.home("room") == homes[0]
    assert await directory.home("another") is None


async def test_an_instance_without_a_lease_cannot_claim(directory: Directory) -> None:
    with pytest.raises(Fenced):
        await directory.claim("room", "a", "a1")
    await directory.announce(node("a"))
    await directory.withdraw("a1")
    with pytest.raises(Fenced):
        await directory.claim("room", "a", "a1")
    assert await directory.home("room") is None


async def test_takeover_of_a_dead_instance(directory: Directory) -> None:
    await directory.announce(node("a"))
    await directory.announce(node("b"))
    first = await directory.claim("room", "a", "a1")
    await directory.save("room", first, b"one")
    await directory.withdraw("a1")
    assert await directory.home("room") is None
    second = await directory.claim("room", "b", "b1")
    assert second == Home("b", "b1", first.epoch + 1)
    assert await directory.load("room") == b"one"
    with pytest.raises(Fenced):
        await directory.save("room", first, b"late")
    await directory.release("room", first)
    assert await directory.home("room") == second
    await directory.save("room", second, b"two")
    assert await directory.load("room") == b"two"


async def test_takeover_with_proof_of_death(directory: Directory) -> None:
    await directory.announce(node("a"))
    await directory.announce(node("b"))
    first = await directory.claim("room", "a", "a1")
    assert await directory.claim("room", "b", "b1", over="other") == first
    assert await directory.claim("room", "b", "b1", over="a1") == Home("b", "b1", first.epoch + 1)


async def test_a_former_home_wins_by_its_epoch(directory: Directory) -> None:
    """After a loss of the directory's state, when another node has claimed the room first."""
    await directory.announce(node("a"))
    await directory.announce(node("b"))
    assert await directory.claim("room", "b", "b1") == Home("b", "b1", 1)
    assert await directory.claim("room", "a", "a1", epoch=1) == Home("b", "b1", 1)
    assert await directory.claim("room", "a", "a1", epoch=7) == Home("a", "a1", 8)
    assert await directory.claim("room", "b", "b1", epoch=1) == Home("a", "a1", 8)
    assert await directory.claim("new", "a", "a1", epoch=7) == Home("a", "a1", 8)


async def test_claims_are_repeatable(directory: Directory) -> None:
    await directory.announce(node("a"))
    first = await directory.claim("room", "a", "a1")
    assert await directory.claim("room", "a", "a1") == first
    assert await directory.claim("room", "a", "a1", epoch=first.epoch) == first


async def test_a_release_deletes_the_snapshot_and_keeps_the_epoch(directory: Directory) -> None:
    await directory.announce(node("a"))
    first = await directory.claim("room", "a", "a1")
    await directory.save("room", first, b"state")
    await directory.release("room", first)
    assert await directory.home("room") is None
    assert await directory.load("room") is None
    with pytest.raises(Fenced):
        await directory.save("room", first, b"late")
    assert await directory.claim("room", "a", "a1") == Home("a", "a1", first.epoch + 1)


async def test_snapshots_have_a_size_limit(directory: Directory) -> None:
    await directory.announce(node("a"))
    home = await directory.claim("room", "a", "a1")
    largest = bytes(SNAPSHOT_LIMIT_BYTES)
    await directory.save("room", home, largest)
    assert await directory.load("room") == largest
    with pytest.raises(ValueError, match="exceeds"):
        await directory.save("room", home, largest + b"x")


@pytest.mark.parametrize("room", ["a room", "{a}", "*", "\u00fc\U0001f600", "a:b", "r" * 128])
async def test_any_name_of_a_room(directory: Directory, room: str) -> None:
    await directory.announce(node("a"))
    home = await directory.claim(room, "a", "a1")
    await directory.save(room, home, b"\x00\xff\r\n")
    assert await directory.home(room) == home
    assert await directory.load(room) == b"\x00\xff\r\n"


async def test_a_stream_is_read_from_its_start_and_then_live(bus: Bus) -> None:
    await bus.publish("one", b"1")
    await bus.publish("two", b"other")
    async with aclosing(bus.read(["one"])) as reader:  # type: ignore[type-var]  # drivers return generators
        async with asyncio.timeout(10):
            assert await anext(reader) == ("one", b"1")
            following = asyncio.ensure_future(anext(reader))
            await bus.publish("one", b"2")
            await bus.publish("one", b"3")
            assert await following == ("one", b"2")
            assert await anext(reader) == ("one", b"3")


async def test_several_readers_of_several_streams(bus: Bus) -> None:
    async def read() -> dict[str, list[bytes]]:
        found: dict[str, list[bytes]] = {"one": [], "two": []}
        async with asyncio.timeout(10), aclosing(bus.read(["one", "two"])) as reader:  # type: ignore[type-var]
            async for stream, message in reader:
                found[stream].append(message)
                if sum(map(len, found.values())) == 40:
                    break
        return found

    readers = [asyncio.create_task(read()) for _ in range(3)]
    for number in range(20):
        await bus.publish("one", b"%d" % number)
        await bus.publish("two", b"%d" % number)
    expected = [b"%d" % number for number in range(20)]
    assert await asyncio.gather(*readers) == [{"one": expected, "two": expected}] * 3


async def test_messages_have_a_size_limit(bus: Bus) -> None:
    await bus.publish("one", bytes(MESSAGE_LIMIT_BYTES))
    with pytest.raises(ValueError, match="exceeds"):
        await bus.publish("one", bytes(MESSAGE_LIMIT_BYTES + 1))
