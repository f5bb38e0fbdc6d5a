"""sfu.cluster.room_links over the bus in memory: order, parts, lost messages, strangers."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from sfu.cluster.memory_directory import MemoryBus
from sfu.cluster.ports import Unavailable
from sfu.cluster.room_links import PART_BYTES, Link, RoomLinks

SECRETS = ["a secret of the cluster"]


class UnreliableBus(MemoryBus):
    """Drops or refuses what a test asks for."""

    drop: Callable[[bytes], bool] = staticmethod(lambda message: False)
    away = False

    async def publish(self, stream: str, message: bytes) -> None:
        if self.away:
            raise Unavailable("away")
        if not self.drop(message):
            await super().publish(stream, message)


class Home:
    """Accepts links, and keeps what it received."""

    def __init__(self) -> None:
        self.links: list[Link] = []
        self.messages: list[bytes] = []
        self.lost = 0
        self.accepts = True

    def accept(self, link: Link) -> bool:
        if self.accepts:
            self.links.append(link)
            link.receive = self.messages.append
            link.lost = self._lost
        return self.accepts

    def _lost(self) -> None:
        self.lost += 1


@asynccontextmanager
async def pair(bus: UnreliableBus, secrets: list[str] = SECRETS) -> AsyncIterator[tuple[RoomLinks, RoomLinks, Home]]:
    home = Home()
    edge_links = RoomLinks(bus, secrets, "edge", lambda link: False)
    home_links = RoomLinks(bus, SECRETS, "home", home.accept)
    tasks = [asyncio.create_task(links.run()) for links in (edge_links, home_links)]
    try:
        yield edge_links, home_links, home
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await edge_links.close()
        await home_links.close()


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110  # tasks of the links do the work
            await asyncio.sleep(0.005)


async def test_messages_keep_their_order_in_both_directions() -> None:
    async with pair(UnreliableBus()) as (edge, home_links, home):
        link = edge.open("hall", "home", home_links.inbox)
        answers: list[bytes] = []
        link.receive = answers.append
        for number in range(50):
            link.send(b"%d" % number)
        await until(lambda: len(home.messages) == 50)
        assert home.messages == [b"%d" % number for number in range(50)]
        (accepted,) = home.links
        assert (accepted.room, accepted.node) == ("hall", "edge")
        accepted.send(b"answer")
        await until(lambda: answers == [b"answer"])


async def test_a_large_message_is_sent_in_parts() -> None:
    message = bytes(range(256)) * (3 * PART_BYTES // 256) + b"end"
    async with pair(UnreliableBus()) as (edge, home_links, home):
        edge.open("hall", "home", home_links.inbox).send(message)
        await until(lambda: home.messages)
        assert home.messages == [message]


async def test_a_lost_message_ends_the_link_at_both_ends() -> None:
    bus = UnreliableBus()
    async with pair(bus) as (edge, home_links, home):
        link = edge.open("hall", "home", home_links.inbox)
        lost = asyncio.Event()
        link.lost = lost.set
        link.send(b"1")
        await until(lambda: home.messages)
        bus.drop = lambda message: True
        link.send(b"2")
        await until(lambda: not edge._queues)
        bus.drop = lambda message: False
        link.send(b"3")
        async with asyncio.timeout(10):
            await lost.wait()
        assert home.messages == [b"1"]
        assert home.lost == 1
        assert (edge.lost, home_links.lost) == (1, 1)


async def test_messages_wait_while_the_bus_is_away() -> None:
    bus = UnreliableBus()
    async with pair(bus) as (edge, home_links, home):
        bus.away = True
        link = edge.open("hall", "home", home_links.inbox)
        link.send(b"1")
        link.send(b"2")
        await asyncio.sleep(0)
        bus.away = False
        await until(lambda: home.messages == [b"1", b"2"])


async def test_a_node_that_is_not_the_home_refuses_the_link() -> None:
    async with pair(UnreliableBus()) as (edge, home_links, home):
        home.accepts = False
        link = edge.open("hall", "home", home_links.inbox)
        lost = asyncio.Event()
        link.lost = lost.set
        link.send(b"1")
        async with asyncio.timeout(10):
            await lost.wait()
        assert home.messages == []


async def test_a_message_that_fails_ends_only_its_link() -> None:
    async with pair(UnreliableBus()) as (edge, home_links, home):
        first = edge.open("broken", "home", home_links.inbox)
        first.send(b"1")
        await until(lambda: home.links)

        def fail(message: bytes) -> None:
            raise RuntimeError("a bug")

        home.links[0].receive = fail
        first.send(b"2")
        edge.open("hall", "home", home_links.inbox).send(b"3")
        await until(lambda: b"3" in home.messages)
        assert home.lost == 1


@pytest.mark.parametrize("secrets", [["another cluster's secret"]])
async def test_strangers_are_not_heard(secrets: list[str]) -> None:
    async with pair(UnreliableBus(), secrets) as (edge, home_links, home):
        edge.open("hall", "home", home_links.inbox).send(b"1")
        await until(lambda: home_links.malformed)
        assert home.links == []
