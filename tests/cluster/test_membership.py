"""Membership with a directory in memory: homes, takeovers, lost leases, and a directory that does not answer."""

import asyncio
from collections.abc import Callable, Mapping

import pytest

from sfu.cluster.memory_directory import MemoryDirectory
from sfu.cluster.ports import LEASE, Home, NodeInfo, Unavailable
from tests.cluster.nodes import ConnectedPeers, Node, opened


class Directory(MemoryDirectory):
    """Counts requests, and can be away."""

    def __init__(self) -> None:
        self.now = 0.0
        super().__init__(lambda: self.now)
        self.requests = 0
        self.away = False

    async def _request(self) -> None:
        self.requests += 1
        await asyncio.sleep(0)
        if self.away:
            raise Unavailable("away")

    async def announce(self, node: NodeInfo) -> bool:
        await self._request()
        return await super().announce(node)

    async def nodes(self) -> Mapping[str, NodeInfo]:
        await self._request()
        return await super().nodes()

    async def home(self, room: str) -> Home | None:
        await self._request()
        return await super().home(room)

    async def claim(self, room: str, node: str, instance: str, *, over: str = "", epoch: int = 0) -> Home:
        await self._request()
        return await super().claim(room, node, instance, over=over, epoch=epoch)

    async def save(self, room: str, home: Home, snapshot: bytes) -> None:
        await self._request()
        await super().save(room, home, snapshot)

    async def load(self, room: str) -> bytes | None:
        await self._request()
        return await super().load(room)

    async def release(self, room: str, home: Home) -> None:
        await self._request()
        await super().release(room, home)


async def test_rooms_stay_where_they_are() -> None:
    directory = Directory()
    a, b = Node("a", directory), Node("b", directory)
    async with opened(a, b):
        assert await a.membership.find_home("room", create=False) is None
        assert await a.join("room") == "a"
        assert await b.join("room") == "a"
        assert await b.join("another") == "b"
        found = await b.membership.find_home("room", create=False)
        assert found is not None
        assert found.instance == a.instance
        assert a.membership.decides("room")
        assert not b.membership.decides("room")


async def test_a_local_room_costs_no_request() -> None:
    directory = Directory()
    a = Node("a", directory)
    async with opened(a):
        before = directory.requests
        assert await asyncio.gather(*(a.join("room") for _ in range(100))) == ["a"] * 100
        assert directory.requests == before + 1
        assert await a.join("room") == "a"
        assert directory.requests == before + 1


async def test_a_busy_node_gives_a_new_room_away() -> None:
    directory = Directory()
    a, b = Node("a", directory), Node("b", directory)
    a.load = 0.5
    async with opened(a, b):
        assert await a.join("room") == "b"
        assert b.membership.home_of("room") is None
        assert await b.join("room") == "b"
        assert await a.join("room") == "b"
        b.draining = True
        await b.membership.announce()
        await a.membership.announce()
        assert await a.join("another") == "a"
        assert await b.join("third") == "a"


async def test_concurrent_joins_agree() -> None:
    directory = Directory()
    nodes = [Node(name, directory) for name in "abc"]
    async with opened(*nodes):
        homes = await asyncio.gather(*(node.join(f"room{number}") for number in range(20) for node in nodes))
        for number in range(20):
            assert len(set(homes[3 * number : 3 * number + 3])) == 1


async def test_an_ended_room_can_move() -> None:
    directory = Directory()
    a, b = Node("a", directory), Node("b", directory)
    async with opened(a, b):
        await a.join("room")
        await a.change("room", b"state")
        a.end("room")
        assert await a.join("room") == "a"  # waits for the release
        assert a.rooms.states["room"] == b""
        a.end("room")
        await asyncio.gather(*a.membership._releasing.values())
        assert await b.join("room") == "b"
        assert b.rooms.states["room"] == b""


async def test_takeover_with_proof_of_death() -> None:
    directory, dead = Directory(), set[str]()
    a, b = Node("a", directory), Node("b", directory, dead)
    async with opened(a, b):
        await a.join("room")
        await a.change("room", b"state")
        assert await b.join("room") == "a"
        dead.add("a")
        assert await b.join("room") == "b"
        assert b.rooms.states["room"] == b"state"
        assert b.membership.takeovers == 1
        # The proof was wrong: a is alive. It takes a new instance and gives the room up.
        old = a.instance
        assert not await a.membership.announce()
        assert a.instance != old
        assert not a.membership.decides("room")
        assert await a.membership.announce()
        await _until(lambda: a.rooms.lost_rooms == ["room"])
        dead.clear()
        assert await a.join("room") == "b"


async def test_an_expired_lease_is_taken_again() -> None:
    directory = Directory()
    a, b = Node("a", directory), Node("b", directory)
    async with opened(a, b):
        await a.join("mine")
        before = a.membership.home_of("mine")
        directory.now += LEASE + 1
        assert not await a.membership.announce()
        assert await a.membership.announce()
        await _until(lambda: a.membership.home_of("mine") != before and a.membership.decides("mine"))
        assert a.rooms.lost_rooms == []
        assert a.rooms.states == {"mine": b""}


async def test_a_wiped_directory() -> None:
    directory = Directory()
    a, b = Node("a", directory), Node("b", directory)
    async with opened(a, b):
        await a.join("room")
        directory.state.wipe()
        with pytest.raises(Unavailable):  # b has no lease, so it cannot claim the room of a
            await b.join("room")
        await b.membership.announce()
        with pytest.raises(Unavailable, match="after an outage"):
            await b.join("new")
        assert a.membership.decides("room")
        await a.membership.announce()
        await _until(lambda: directory.state.home("room", directory.now) is not None)
        assert a.membership.decides("room")
        assert await a.join("room") == "a"


async def test_a_directory_that_does_not_answer() -> None:
    directory = Directory()
    a, b = Node("a", directory), Node("b", directory)
    async with opened(a, b):
        await a.join("room")
        directory.away = True
        assert not await a.membership.announce()
        assert await a.join("room") == "a"
        for create in (True, False):
            with pytest.raises(Unavailable):
                await a.membership.find_home("unknown", create=create)
        await a.change("room", b"state")
        directory.away = False
        await a.membership.announce()
        await _until(lambda: directory.state.load("room", directory.now) is not None)


async def test_a_node_that_is_cut_off() -> None:
    directory, peers = Directory(), ConnectedPeers()
    a, b = Node("a", directory, peers=peers), Node("b", directory, peers=peers)
    peers.nodes, peers.unreachable = {"a": a, "b": b}, {"b"}
    async with opened(a, b):
        await a.join("room")
        a.membership.check_home("room")
        directory.away = True
        assert not await a.membership.announce()
        a.membership.lease._trust_until = 0.0  # TRUST seconds later
        assert a.membership.cut_off
        # The room stays here: only decisions about it are refused.
        assert await a.membership.find_home("room", create=True) is None
        with pytest.raises(Unavailable) as refusal:
            a.membership.check_home("room")
        assert refusal.value.code == "cut_off"
        a.membership.check_home("unknown")
        directory.away = False
        await a.membership.announce()
        await _until(lambda: a.membership.decides("room"))
        a.membership.check_home("room")


async def test_a_home_that_was_found_before_the_directory_was_lost() -> None:
    directory = Directory()
    a, b = Node("a", directory), Node("b", directory)
    async with opened(a, b):
        await a.join("room")
        await a.join("unknown to b")
        assert await b.join("room") == "a"
        directory.away = True
        await b.membership.announce()
        assert await b.join("room") == "a"
        with pytest.raises(Unavailable):
            await b.join("unknown to b")
        directory.away = False
        await b.membership.announce()
        a.end("room")
        await asyncio.gather(*a.membership._releasing.values())
        assert await b.membership.find_home("room", create=False) is None
        directory.away = True
        await b.membership.announce()
        with pytest.raises(Unavailable):
            await b.join("room")


async def test_peers_keep_a_lease_alive() -> None:
    directory, other, peers = Directory(), Directory(), ConnectedPeers()
    a, b = Node("a", directory, peers=peers), Node("b", directory, peers=peers)
    peers.nodes = {"a": a, "b": b}
    async with opened(a, b):
        await a.join("room")
        a.membership._directory = other
        other.away = True
        directory.now += LEASE - 1
        await b.membership.announce()
        assert not await a.membership.announce()  # renewed by b
        directory.now += LEASE - 1
        await b.membership.announce()
        assert set(await directory.nodes()) == {"a", "b"}
        a.membership._directory = directory


async def test_a_malformed_snapshot() -> None:
    directory, dead = Directory(), {"a"}
    a, b = Node("a", directory), Node("b", directory, dead)
    async with opened(a, b):
        await a.join("room")
        await a.change("room", b"malformed")
        assert await b.join("room") == "b"
        assert b.rooms.states["room"] == b""
        directory.state.save("room", b.membership.lease.homes["room"], b"not sealed", directory.now)
        assert await b.snapshots.load("room") is None


async def test_a_fenced_save_gives_the_room_up() -> None:
    directory = Directory()
    a, b = Node("a", directory), Node("b", directory)
    async with opened(a, b):
        await a.join("room")
        directory.state.claim("room", Home("b", b.instance, 0), directory.now, over=a.instance)
        await a.change("room", b"state")
        assert a.rooms.lost_rooms == ["room"]
        assert await a.join("room") == "b"


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110  # a condition of several objects
            await asyncio.sleep(0.005)
