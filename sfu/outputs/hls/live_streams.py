"""Every programme of this server that can be watched: one on air for each room at most, and ended ones to be replayed.

What lies in the directory is found again when the server starts: a programme that was on air goes on behind a
discontinuity, or ends if nobody goes on with it.
"""

import logging
import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from sfu.outputs.hls.live_stream import LiveStream
from sfu.outputs.hls.rendition_stream import Limits
from sfu.outputs.hls.storage import DirectoryStorage
from sfu.outputs.settings import Hls, Rendition
from sfu.resources.disk_executor import DiskExecutor

log = logging.getLogger(__name__)

NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
ABOUT = "about.json"
KEPT = 1000
"""Programmes, ended ones included: the oldest of those go first."""
MEMORY_RELEASE_DELAY = 60.0
"""Seconds after its end that the newest of a programme is still held in memory, for those who were watching."""


class StreamManifest(msgspec.Struct, frozen=True):
    """Whose programme lies in a directory."""

    room: str
    renditions: list[Rendition]


@dataclass(slots=True)
class StoredLiveStream:
    room: str
    live_stream: LiveStream


class LiveStreams:
    """Opens and forgets windows. `expire` from time to time; times are seconds since 1970."""

    def __init__(self, settings: Hls) -> None:
        self._settings = settings
        self._root = Path(settings.directory or Path(tempfile.gettempdir()) / "aiosfu-hls")
        self.disk = DiskExecutor("programmes")
        "Does everything that waits for the disk, in order."
        self._all: dict[str, StoredLiveStream] = {}
        self._of_room: dict[str, str] = {}

    def open(self, room: str, stream_id: str, renditions: Sequence[Rendition]) -> LiveStream:
        """A window for `programme`, an id never used before; another one of the room has to have ended."""
        if NAME.fullmatch(stream_id) is None or stream_id in self._all:
            raise ValueError("a programme needs a name of its own")
        current = self.current(room)
        if current is not None and current.ended_at is None:
            raise ValueError("this room has a programme already")
        if len(self._all) >= KEPT:
            ended = (name for name, one in self._all.items() if one.live_stream.ended_at is not None)
            self.remove(next(ended, ""))
        storage = DirectoryStorage(self._root / stream_id, self.disk)
        storage.write(ABOUT, msgspec.json.encode(StreamManifest(room, list(renditions))))
        live_stream = LiveStream(stream_id, renditions, self._limits(), storage)
        self._all[stream_id] = StoredLiveStream(room, live_stream)
        self._of_room[room] = stream_id
        return live_stream

    def current(self, room: str) -> LiveStream | None:
        """What a room's viewers see: the programme on air, or the last one if it can be replayed."""
        stored = self._all.get(self._of_room.get(room, ""))
        return stored.live_stream if stored is not None else None

    def find(self, room: str, stream_id: str) -> LiveStream | None:
        """One programme of a room, on air or ended."""
        found = self._all.get(stream_id)
        return found.live_stream if found is not None and found.room == room else None

    def replays(self, room: str) -> list[LiveStream]:
        """Ended programmes of a room, oldest first."""
        return [
            one.live_stream for one in self._all.values() if one.room == room and one.live_stream.ended_at is not None
        ]

    def remove(self, stream_id: str) -> None:
        """With everything that is stored of it. Idempotent."""
        found = self._all.pop(stream_id, None)
        if found is None:
            return
        if self._of_room.get(found.room) == stream_id:
            del self._of_room[found.room]
        found.live_stream.close()

    def expire(self, now: float) -> None:
        """Removes what ended too long ago. Viewers see the end for a minute, then the replay, if there is one."""
        kept = max(self._settings.replay, MEMORY_RELEASE_DELAY)
        for name, stored in list(self._all.items()):
            ended_at = stored.live_stream.ended_at
            if ended_at is not None and now - ended_at > kept:
                self.remove(name)
            elif ended_at is not None and now - ended_at > MEMORY_RELEASE_DELAY:
                stored.live_stream.release_memory()

    def find_stored(self) -> list[StoredLiveStream]:
        """What an earlier process left in the directory. Reads the disk: for another thread than the loop's."""
        found = []
        for path in sorted(self._root.glob(f"*/{ABOUT}")):
            try:
                about = msgspec.json.decode(path.read_bytes(), type=StreamManifest)
                name = path.parent.name
                if NAME.fullmatch(name) is None or name in self._all:
                    continue
                storage = DirectoryStorage(path.parent, self.disk)
                live_stream = LiveStream.restored(name, about.renditions, self._limits(), storage, storage.found())
            except (OSError, msgspec.MsgspecError):
                continue
            found.append(StoredLiveStream(about.room, live_stream))
        return found

    def restore(self, found: Sequence[StoredLiveStream], now: float) -> list[StoredLiveStream]:
        """Takes up what `find_stored` found; those that are still on air, for whoever can go on with them.

        Who cannot calls their `end`.
        """
        on_air = []
        begun = set(self._all)  # since this server started
        for stored in found:
            room, live_stream = stored.room, stored.live_stream
            if live_stream.stream_id in self._all:
                continue
            self._all[live_stream.stream_id] = stored
            newest = self.current(room)
            if newest is None or (newest.stream_id not in begun and newest.started_at <= live_stream.started_at):
                self._of_room[room] = live_stream.stream_id
            if live_stream.ended_at is None:
                on_air.append(stored)
        self.expire(now)
        return on_air

    def close(self) -> None:
        """Waits for what is not written yet, some seconds at most."""
        self.disk.close()

    def _limits(self) -> Limits:
        return Limits(self._settings.dvr, self._settings.memory, self._settings.replay > 0)
