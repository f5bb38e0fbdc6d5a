"""Calls of bots on real nodes, and what a kill of a node does to them: gaps in the received tracks, lost participants."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import aiohttp

from sfu.bots.bot import Bot
from sfu.bots.load_test import LoadTest, LoadTestConfig
from sfu.signaling import messages as m
from tests.cluster.redis_nodes import GRANTS, RedisNodes
from tests.web.server import token

LOOK = 0.02
"""Seconds between two looks at the received tracks: the resolution of the gaps."""
FRESH = 0.5
"""Seconds since the last packet of a track that flows."""
BACK = 40.0
"""Seconds until everything flows again, or the test fails."""


@dataclass(frozen=True, slots=True)
class Kill:
    """The effects of the kill of a node."""

    node: str
    rooms: int
    "Rooms that the node served."
    moved: tuple[float, ...]
    "Longest gap of each track that bots of these rooms receive, in seconds."
    stayed: tuple[float, ...]
    "The same for all other rooms."
    faults: tuple[str, ...]
    "Participants lost or doubled, chat or locks lost."


class Tracks:
    """When packets of each track arrived at each bot."""

    def __init__(self, tests: dict[str, LoadTest]) -> None:
        self._tests = tests
        self._packets: dict[tuple[int, str], tuple[int, int]] = {}
        self._last: dict[tuple[int, str], float] = {}
        self._since = 0.0
        self.gaps: dict[tuple[str, int, str], float] = {}
        """Longest gap by room, bot and track; `reset` clears them."""

    def reset(self) -> None:
        self.gaps = {}

    def forget(self) -> None:
        """Packets until now do not count for `flowing` any more."""
        self._since = time.monotonic()

    def look(self) -> None:
        now = time.monotonic()
        for room, number, track, packets in self._received():
            key = number, track
            if self._packets.get(key) != packets:
                self._packets[key] = packets
                self._measure(room, key, now)
                self._last[key] = now

    def flowing(self, tracks: int) -> bool:
        """Whether so many tracks of each other participant flow to each bot."""
        since = max(self._since, time.monotonic() - FRESH)
        fresh = sum(at > since for at in self._last.values())
        return fresh == sum(len(test.bots) * (len(test.bots) - 1) * tracks for test in self._tests.values())

    def silent(self, tracks: int) -> dict[str, list[str]]:
        """By room and bot: its state and what arrives, for the message of a failed test."""
        since = max(self._since, time.monotonic() - FRESH)
        fresh = {key for key, at in self._last.items() if at > since}
        found: dict[str, list[str]] = {}
        for room, test in self._tests.items():
            for bot in test.bots:
                flowing = sum(number == id(bot) for number, _ in fresh)
                if flowing != (len(test.bots) - 1) * tracks:
                    states = [
                        each.connection.state.name if each is not None else "none"
                        for each in (bot.publisher, bot.subscriber)
                    ]
                    found.setdefault(room, []).append(f"{bot.config.name}: {flowing} tracks, {states}")
        return found

    def _measure(self, room: str, key: tuple[int, str], now: float) -> None:
        gap = now - self._last.get(key, now)
        place = (room, *key)
        self.gaps[place] = max(self.gaps.get(place, 0.0), gap)

    def _received(self) -> Iterator[tuple[str, int, str, tuple[int, int]]]:
        for room, test in self._tests.items():
            for bot in test.bots:
                receptions = bot.subscriber.receptions.values() if bot.subscriber is not None else ()
                for each in receptions:
                    if each.stream.counts.packets:
                        yield room, id(bot), each.track, (id(each), each.stream.counts.packets)


class Calls:
    def __init__(self, nodes: RedisNodes, tests: dict[str, LoadTest], tracks: int) -> None:
        """`tracks`: that each bot publishes."""
        self._nodes = nodes
        self._tests = tests
        self._count = tracks
        self.tracks = Tracks(tests)

    @property
    def bots(self) -> list[Bot]:
        return [bot for test in self._tests.values() for bot in test.bots]

    async def flow(self) -> None:
        """Waits until every bot receives every track of its room."""

        async def flowing() -> bool:
            failures = [failure for test in self._tests.values() for failure in test.failures]
            assert failures == []
            return self.tracks.flowing(self._count)

        try:
            await self._nodes.until(flowing, BACK)
        except TimeoutError:
            raise AssertionError(f"tracks do not flow: {self.tracks.silent(self._count)}") from None

    async def kill(self, round_number: int, stop: Callable[[str], Coroutine[None, None, None]] | None = None) -> Kill:
        """Kills the node with the most rooms and waits until all tracks flow. The node is not started again.

        `stop`: another way to end it."""
        await self.flow()
        served = {node: await self._nodes.served(node) for node in self._nodes.nodes}
        victim = max(served, key=lambda node: len(served[node]))
        text = f"round {round_number}"
        for room, test in self._tests.items():
            await test.bots[0].client.request(m.Chat(id=0, text=text))
            status, _, _ = await self._nodes.api(victim, "PATCH", f"/rooms/{room}", room, json={"locked": True})
            assert status == 200
        await self._nodes.all_nodes("sfu_cluster_unsaved_rooms", 0)
        before = {room: sorted(bot.participant for bot in test.bots) for room, test in self._tests.items()}
        self.tracks.reset()
        await (stop or self._nodes.kill)(victim)
        self.tracks.forget()

        async def continued() -> bool:
            homes = await self._nodes.homes(*served[victim])
            return homes.keys() == served[victim] and victim not in homes.values()

        await self._nodes.until(continued, BACK)
        await self.flow()
        faults = [fault for room, ids in before.items() for fault in await self._faults(room, ids, text)]
        moved: list[float] = []
        stayed: list[float] = []
        for (room, _, _), gap in self.tracks.gaps.items():
            (moved if room in served[victim] else stayed).append(gap)
        return Kill(victim, len(served[victim]), tuple(moved), tuple(stayed), tuple(faults))

    async def _faults(self, room: str, before: list[str], text: str) -> list[str]:
        node = next(iter(self._nodes.nodes))
        _, found, _ = await self._nodes.api(node, "GET", f"/rooms/{room}/participants", room)
        after = sorted(each["id"] for each in found["participants"])
        faults = [] if after == before else [f"{room}: {before} became {after}"]
        # An operator enters a locked room after unlocking it, and sees the history.
        status, state, _ = await self._nodes.api(node, "GET", f"/rooms/{room}", room)
        if status != 200 or not state["locked"]:
            faults.append(f"{room} is not locked any more")
        await self._nodes.api(node, "PATCH", f"/rooms/{room}", room, json={"locked": False})
        observer = await self._nodes.join(node, room, "observer", *GRANTS)
        if [entry["text"] for entry in observer.state["chat"]][-1:] != [text]:
            faults.append(f"{room}: the chat is {observer.state['chat']}")
        await observer.leave()
        return faults


@asynccontextmanager
async def calls(
    nodes: RedisNodes, rooms: int, size: int, publish: str = "audio", http: aiohttp.ClientSession | None = None
) -> AsyncIterator[Calls]:
    """`rooms` rooms of `size` bots each, which join through the balancer."""
    async with asyncio.TaskGroup() as tasks, aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as own:
        tests = {}
        for number in range(rooms):
            room = f"call-{number}"
            config = LoadTestConfig(
                url=nodes.url, count=size, publish=publish, size=(160, 90), fps=10.0, layers=1, ramp=20.0
            )

            async def tokens(identity: str, name: str, room: str = room) -> str:
                return await token(room, identity, "--create")

            tests[room] = LoadTest(config, tokens, http or own)
        running = [tasks.create_task(test.run()) for test in tests.values()]
        found = Calls(nodes, tests, 2 if publish == "camera" else 1)

        async def look() -> None:
            while True:
                found.tracks.look()
                await asyncio.sleep(LOOK)

        running.append(tasks.create_task(look()))
        try:
            yield found
        finally:
            for task in running:
                task.cancel()
