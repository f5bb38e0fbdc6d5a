"""All live streams of this server: at most one active stream per room, and ended streams for replay.

Stored streams are restored when the server starts. A stream that was active either continues after a discontinuity or
is ended by the caller.
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
"""Maximum number of live streams, including ended ones; the oldest ended ones are removed first."""
MEMORY_RELEASE_DELAY = 60.0
"""Seconds after the end during which recent media stays in memory for viewers who are still watching."""


class StreamManifest(msgspec.Struct, frozen=True):
    """Content of `about.json` in the directory of a live stream."""

    room: str
    renditions: list[Rendition]


@dataclass(slots=True)
class StoredLiveStream:
    room: str
    live_stream: LiveStream


class LiveStreams:
    """Opens, restores and expires live streams. Call `expire` regularly. Times are Unix times in seconds."""

    def __init__(self, settings: Hls) -> None:
        self._settings = settings
        self._root = Path(settings.directory or Path(tempfile.gettempdir()) / "aiosfu-hls")
        self.disk = DiskExecutor("live-streams")
        "Executes all disk operations in order."
        self._all: dict[str, StoredLiveStream] = {}
        self._of_room: dict[str, str] = {}

    def open(self, room: str, stream_id: str, renditions: Sequence[Rendition]) -> LiveStream:
        """Opens a live stream. `stream_id` must be new, and the room must have no active stream; otherwise raises
        ValueError.
        """
        if NAME.fullmatch(stream_id) is None or stream_id in self._all:
            raise ValueError("the stream id is invalid or in use")
        current = self.current(room)
        if current is not None and current.ended_at is None:
            raise ValueError("this room already has an active live stream")
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
        """The room's active live stream, or its last one if that can be replayed."""
        stored = self._all.get(self._of_room.get(room, ""))
        return stored.live_stream if stored is not None else None

    def find(self, room: str, stream_id: str) -> LiveStream | None:
        """A live stream of the room, active or ended."""
        found = self._all.get(stream_id)
        return found.live_stream if found is not None and found.room == room else None

    def replays(self, room: str) -> list[LiveStream]:
        """Ended live streams of the room, oldest first."""
        return [
            one.live_stream for one in self._all.values() if one.room == room and one.live_stream.ended_at is not None
        ]

    def remove(self, stream_id: str) -> None:
        """Removes a live stream and its files. Idempotent."""
        found = self._all.pop(stream_id, None)
        if found is None:
            return
        if self._of_room.get(found.room) == stream_id:
            del self._of_room[found.room]
        found.live_stream.close()

    def expire(self, now: float) -> None:
        """Removes streams that ended too long ago. For the first minute after the end, viewers can watch the end; then
        the replay.
        """
        kept = max(self._settings.replay, MEMORY_RELEASE_DELAY)
        for name, stored in list(self._all.items()):
            ended_at = stored.live_stream.ended_at
            if ended_at is not None and now - ended_at > kept:
                self.remove(name)
            elif ended_at is not None and now - ended_at > MEMORY_RELEASE_DELAY:
                stored.live_stream.release_memory()

    def find_stored(self) -> list[StoredLiveStream]:
        """Reads the streams that an earlier process stored. Blocks on the disk: do not call it on the event loop."""
        found = []
        for path in sorted(self._root.glob(f"*/{ABOUT}")):
            try:
                manifest = msgspec.json.decode(path.read_bytes(), type=StreamManifest)
                name = path.parent.name
                if NAME.fullmatch(name) is None or name in self._all:
                    continue
                storage = DirectoryStorage(path.parent, self.disk)
                live_stream = LiveStream.restored(name, manifest.renditions, self._limits(), storage, storage.found())
            except (OSError, msgspec.MsgspecError):
                continue
            found.append(StoredLiveStream(manifest.room, live_stream))
        return found

    def restore(self, found: Sequence[StoredLiveStream], now: float) -> list[StoredLiveStream]:
        """Adds the streams from `find_stored`. Returns those that were still active; the caller must continue or `end`
        them.
        """
        active = []
        opened = set(self._all)  # opened since this server started
        for stored in found:
            room, live_stream = stored.room, stored.live_stream
            if live_stream.stream_id in self._all:
                continue
            self._all[live_stream.stream_id] = stored
            newest = self.current(room)
            if newest is None or (newest.stream_id not in opened and newest.started_at <= live_stream.started_at):
                self._of_room[room] = live_stream.stream_id
            if live_stream.ended_at is None:
                active.append(stored)
        self.expire(now)
        return active

    def close(self) -> None:
        """Waits for pending writes, for a few seconds at most."""
        self.disk.close()

    def _limits(self) -> Limits:
        return Limits(self._settings.dvr, self._settings.memory, self._settings.replay > 0)
