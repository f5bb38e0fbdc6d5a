"""A room that moves between two nodes with a directory in memory, and every way in which the move can fail."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from sfu.cluster.draining import Draining
from sfu.cluster.handover import ContinueRoom, Handover
from sfu.cluster.memory_directory import MemoryDirectory
from sfu.cluster.ports import SNAPSHOT_LIMIT_BYTES, NodeInfo, Unavailable
from sfu.errors import AtCapacity, Conflict, NotFound
from tests.cluster.nodes import Node, opened


class Pair:
    """The home `a` and the node `b`. `answer` replaces what `b` does when it has to continue a room."""

    def __init__(self) -> None:
        self.directory = MemoryDirectory(lambda: 0.0)
        self.a, self.b = Node("a", self.directory), Node("b", self.directory)
        self.refusal = ""
        self.answer: Callable[[ContinueRoom], Awaitable[None]] | None = None
        self.moves = self._handover(self.a)
        self.other = self._handover(self.b)

    async def continue_room(self, node: NodeInfo, request: ContinueRoom) -> None:
        """Implements Target."""
        assert node.id == "b"
        if self.answer is not None and request.former:
            await self.answer(request)
        else:
            await self.other.answer(request)

    def _handover(self, node: Node) -> Handover:
        return Handover(self.directory, node.membership, node.rooms, node.snapshots, self, lambda: self.refusal)


async def test_the_target_continues_with_the_last_state() -> None:
    pair = Pair()
    async with opened(pair.a, pair.b):
        await pair.a.join("room")
        pair.a.rooms.states["room"] = b"never saved"
        assert (await pair.moves.move("room")).id == "b"
        assert pair.b.rooms.states == {"room": b"never saved"}
        assert pair.a.rooms.lost_rooms == ["room"]
        assert await pair.a.join("room") == "b"
        home = pair.b.membership.home_of("room")
        assert home is not None
        assert home.epoch == 2


async def test_requests_wait_until_the_move_ends() -> None:
    pair = Pair()
    going_on = asyncio.Event()

    async def slow(request: ContinueRoom) -> None:
        await going_on.wait()
        await pair.other.answer(request)

    pair.answer = slow
    async with opened(pair.a, pair.b):
        await pair.a.join("room")
        moving = asyncio.create_task(pair.moves.move("room", "b"))
        while "room" in pair.a.rooms.states:  # noqa: ASYNC110  # each step of the move is one turn of the loop
            await asyncio.sleep(0)
        joining = asyncio.create_task(pair.a.join("room"))
        with pytest.raises(Conflict, match="being moved already"):
            await pair.moves.move("room", "b")
        assert not joining.done()
        going_on.set()
        assert await joining == "b"
        assert (await moving).id == "b"
        assert pair.a.rooms.states == {}


@pytest.mark.parametrize("error", [Unavailable("b does not answer"), AtCapacity("b is full"), Conflict("a third node")])
async def test_the_room_stays_if_the_target_fails(error: Exception) -> None:
    pair = Pair()

    async def fail(request: ContinueRoom) -> None:
        raise error

    pair.answer = fail
    async with opened(pair.a, pair.b):
        await pair.a.join("room")
        pair.a.rooms.states["room"] = b"state"
        with pytest.raises(AtCapacity, match="The room stays where it is"):
            await pair.moves.move("room", "b")
        assert pair.a.rooms.states == {"room": b"state"}
        assert pair.a.membership.decides("room")
        assert await pair.a.join("room") == "a"


async def test_the_target_continues_and_its_response_is_lost() -> None:
    pair = Pair()

    async def lose(request: ContinueRoom) -> None:
        await pair.other.answer(request)
        raise Unavailable("no response")

    pair.answer = lose
    async with opened(pair.a, pair.b):
        await pair.a.join("room")
        with pytest.raises(Unavailable, match="no response"):
            await pair.moves.move("room", "b")
        assert pair.a.rooms.states == {}
        assert pair.b.rooms.states == {"room": b""}
        assert await pair.a.join("room") == "b"


async def test_refused_before_the_room_closes() -> None:
    pair = Pair()
    async with opened(pair.a, pair.b):
        await pair.a.join("room")
        pair.a.rooms.states["large"] = bytes(SNAPSHOT_LIMIT_BYTES)
        await pair.a.membership.find_home("large", create=True)
        with pytest.raises(Conflict, match="too large"):
            await pair.moves.move("large", "b")
        with pytest.raises(NotFound):
            await pair.moves.move("nowhere", "b")
        with pytest.raises(NotFound):
            await pair.moves.move("room", "c")
        with pytest.raises(Conflict, match="on this node already"):
            await pair.moves.move("room", "a")
        pair.refusal = "room limit reached"
        for node in ("", "b"):
            with pytest.raises(AtCapacity, match="b accepts no rooms: room limit reached"):
                await pair.moves.move("room", node)
        assert pair.a.rooms.lost_rooms == []
        assert await pair.a.join("room") == "a"


async def test_a_drain_goes_on_after_a_refusal() -> None:
    rooms = {"stays": 0, "goes": 0}
    moved = asyncio.Event()

    async def move(room: str) -> None:
        if room == "stays":
            raise AtCapacity("full")
        del rooms[room]
        moved.set()

    draining = Draining(lambda: dict(rooms), move)
    draining.start()
    draining.start()
    async with asyncio.timeout(10):
        await moved.wait()
    assert rooms == {"stays": 0}
    assert draining.active
    await draining.stop()
    assert not draining.active
