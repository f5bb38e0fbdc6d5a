"""Remembers for a second which node is the home of a room, so that frequent requests do not ask the directory each time."""

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final, Protocol

from sfu.cluster.ports import Home, NodeInfo, Unavailable

LIFETIME: Final = 1.0
"""Seconds for which a home is remembered."""
LIMIT: Final = 4_096
"""Rooms whose home is remembered. Beyond it, the oldest entry is dropped."""


class Search(Protocol):
    async def find_home(self, room: str, *, create: bool) -> NodeInfo | None: ...

    def check_home(self, room: str) -> None: ...

    def home_of(self, room: str) -> Home | None: ...


class HomeCache:
    """A Placement. It remembers other nodes only: rooms of this node cost no request, and an absent room can appear later."""

    def __init__(self, search: Search, clock: Callable[[], float] = time.monotonic) -> None:
        self._search = search
        self._clock = clock
        self._homes: OrderedDict[str, tuple[NodeInfo, float]] = OrderedDict()

    async def find_home(self, room: str, *, create: bool) -> NodeInfo | None:
        found = self._homes.get(room)
        if found is not None and self._search.home_of(room) is not None:
            # The room has moved here since.
            found = None
        if found is not None and not create and self._clock() < found[1]:
            return found[0]
        try:
            node = await self._search.find_home(room, create=create)
        except Unavailable:
            # Rooms that run are not affected by the loss of the directory.
            if (found := self._homes.get(room)) is None or create:
                raise
            return found[0]
        self._homes.pop(room, None)
        if node is not None:
            self._homes[room] = (node, self._clock() + LIFETIME)
            if len(self._homes) > LIMIT:
                self._homes.popitem(last=False)
        return node

    def check_home(self, room: str) -> None:
        self._search.check_home(room)

    def forget_home(self, room: str, node: NodeInfo) -> None:
        found = self._homes.get(room)
        if found is not None and found[0].instance == node.instance:
            del self._homes[room]
