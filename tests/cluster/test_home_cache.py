"""How long homes are remembered, and when they are forgotten."""

from dataclasses import dataclass, field

from sfu.cluster.home_cache import LIFETIME, LIMIT, HomeCache
from sfu.cluster.ports import Home, NodeInfo

A = NodeInfo(id="a", instance="a1", url="")
B = NodeInfo(id="b", instance="b1", url="")


@dataclass
class Directory:
    """Counts searches."""

    home: NodeInfo | None = A
    now: float = 0.0
    own: Home | None = None
    searches: list[tuple[str, bool]] = field(default_factory=list)

    async def find_home(self, room: str, *, create: bool) -> NodeInfo | None:
        self.searches.append((room, create))
        return self.home

    def check_home(self, room: str) -> None: ...

    def home_of(self, room: str) -> Home | None:
        return self.own

    def clock(self) -> float:
        return self.now


async def test_remembered_for_a_second() -> None:
    directory = Directory()
    cache = HomeCache(directory, directory.clock)
    assert [await cache.find_home("call", create=False) for _ in range(3)] == [A] * 3
    assert len(directory.searches) == 1
    directory.home, directory.now = B, LIFETIME
    assert await cache.find_home("call", create=False) == B
    assert len(directory.searches) == 2


async def test_own_and_absent_rooms_and_creation_are_not_remembered() -> None:
    directory = Directory(home=None)
    cache = HomeCache(directory, directory.clock)
    assert await cache.find_home("call", create=False) is None
    directory.home = A
    assert await cache.find_home("call", create=False) == A
    assert await cache.find_home("call", create=True) == A
    assert directory.searches == [("call", False), ("call", False), ("call", True)]


async def test_forgets_the_node_that_failed_and_no_other() -> None:
    directory = Directory()
    cache = HomeCache(directory, directory.clock)
    assert await cache.find_home("call", create=False) == A
    cache.forget_home("call", B)
    assert await cache.find_home("call", create=False) == A
    assert len(directory.searches) == 1
    directory.home = B
    cache.forget_home("call", A)
    assert await cache.find_home("call", create=False) == B


async def test_bounded() -> None:
    directory = Directory()
    cache = HomeCache(directory, directory.clock)
    for number in range(LIMIT + 1):
        await cache.find_home(f"room-{number}", create=False)
    await cache.find_home(f"room-{LIMIT}", create=False)
    assert len(directory.searches) == LIMIT + 1
    await cache.find_home("room-0", create=False)
    assert len(directory.searches) == LIMIT + 2


async def test_a_room_that_moves_here_is_not_remembered_elsewhere() -> None:
    directory = Directory()
    cache = HomeCache(directory, directory.clock)
    assert await cache.find_home("call", create=False) == A
    directory.home, directory.own = None, Home("b", "b1", 2)
    assert await cache.find_home("call", create=False) is None
