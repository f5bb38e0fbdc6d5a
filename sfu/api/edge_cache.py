"""The cache of an HLS edge: files and the newest playlists, bounded per room and in total. Pure.

Playlists are read only as far as an edge needs it: which part is the newest, and which parts make up a segment. RFC 8216bis
6.2.5.2 (when a blocked request is answered), 4.4.4.9 (EXT-X-PART).
"""

import re
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Final

from sfu.cluster.ports import NodeInfo
from sfu.outputs.hls.delivery_directives import DeliveryDirectives

ROOM_LIMIT_BYTES: Final = 64 << 20
"""Files of one room: over a minute of all default renditions. Beyond it, the least recently used is dropped."""
TOTAL_LIMIT_BYTES: Final = 256 << 20
"""Files of all rooms. Beyond it, the room without requests for the longest time loses files first."""
ROOMS_LIMIT: Final = 4_096
IDLE: Final = 30.0
"""Seconds without a viewer after which the files of a room are dropped."""

_PART = re.compile(r'#EXT-X-PART:[^\n]*?URI="[^"/]+/(\d+)\.(\d+)(?:\.\d+)?\.m4s"')
_HINT = re.compile(r'#EXT-X-PRELOAD-HINT:TYPE=PART,URI="[^"/]+/(\d+)\.(\d+)(?:\.\d+)?\.m4s"')
_URI = re.compile(r'URI="([^"]+)"')

Key = tuple[str, bool]
"""Path below the room, and whether it is a delta update."""


@dataclass(frozen=True, slots=True)
class CachedFile:
    body: bytes
    fetched_at: float
    "Monotonic time."
    number: int = 0
    "Different for each file that was fetched."
    last: tuple[int, int] = (-1, -1)
    "Media sequence number and index of the newest part of a live playlist."
    next: tuple[int, int] = (0, 0)
    "Those of the part that it announces."
    ended: bool = False

    @classmethod
    def playlist(cls, body: bytes, fetched_at: float, number: int) -> "CachedFile":
        text = body.decode(errors="replace")
        newest = _PART.match(text, max(0, text.rfind("#EXT-X-PART:")))
        hint = _HINT.match(text, max(0, text.rfind("#EXT-X-PRELOAD-HINT:")))
        last = (int(newest[1]), int(newest[2])) if newest else (-1, -1)
        announced = (int(hint[1]), int(hint[2])) if hint else (last[0] + 1, 0)
        return cls(body, fetched_at, number, last, announced, "#EXT-X-ENDLIST" in text)

    def answers(self, asked: DeliveryDirectives) -> bool:
        """Whether a blocking request with these directives is answered with this playlist."""
        if asked.msn is None or self.ended:
            return True
        if asked.part is not None:
            return self.last >= (asked.msn, asked.part)
        return self.next[0] > asked.msn

    def parts_of(self, segment: str) -> list[str]:
        """URIs of the parts of a complete segment; empty if this playlist does not list them."""
        head, found, _ = self.body.decode(errors="replace").partition(f",\n{segment}\n")
        uris: list[str] = []
        if not found:
            return uris
        for line in reversed(head.split("\n")[:-1]):
            uri = _URI.search(line)
            if not line.startswith("#EXT-X-PART:") or uri is None:
                break
            uris.insert(0, uri[1])
        return uris


@dataclass(slots=True)
class _Room:
    used_at: float
    origin: NodeInfo
    files: OrderedDict[Key, CachedFile] = field(default_factory=OrderedDict)
    size: int = 0


class EdgeCache:
    """Files of rooms by path. Times are monotonic."""

    def __init__(self, room_limit_bytes: int = ROOM_LIMIT_BYTES, total_limit_bytes: int = TOTAL_LIMIT_BYTES) -> None:
        self._room_limit_bytes = room_limit_bytes
        self._total_limit_bytes = total_limit_bytes
        self._rooms: OrderedDict[str, _Room] = OrderedDict()
        self.size = 0
        "Bytes."

    def __contains__(self, room: str) -> bool:
        return room in self._rooms

    def __len__(self) -> int:
        return len(self._rooms)

    def get(self, room: str, key: Key, now: float) -> CachedFile | None:
        found = self._rooms.get(room)
        if found is None:
            return None
        found.used_at = now
        self._rooms.move_to_end(room)
        file = found.files.get(key)
        if file is not None:
            found.files.move_to_end(key)
        return file

    def origin_of(self, room: str) -> NodeInfo | None:
        """The node of which the newest file is."""
        found = self._rooms.get(room)
        return found.origin if found is not None else None

    def put(self, room: str, key: Key, file: CachedFile, origin: NodeInfo) -> None:
        held = self._rooms.get(room)
        if held is None:
            held = self._rooms[room] = _Room(file.fetched_at, origin)
            if len(self._rooms) > ROOMS_LIMIT:
                self._forget(next(iter(self._rooms)))
        held.origin = origin
        if key in held.files:
            self._drop(held, key)
        held.files[key] = file
        held.size += len(file.body)
        self.size += len(file.body)
        while held.size > self._room_limit_bytes:
            self._drop(held, next(iter(held.files)))
        while self.size > self._total_limit_bytes:
            name, idle = next(iter(self._rooms.items()))
            self._drop(idle, next(iter(idle.files)))
            if not idle.files:
                self._forget(name)

    def expire(self, now: float) -> None:
        """Drops the rooms that have no viewers."""
        for name, room in list(self._rooms.items()):
            if now - room.used_at < IDLE:
                return
            self._forget(name)

    def _forget(self, room: str) -> None:
        self.size -= self._rooms.pop(room).size

    def _drop(self, room: _Room, key: Key) -> None:
        size = len(room.files.pop(key).body)
        room.size -= size
        self.size -= size
