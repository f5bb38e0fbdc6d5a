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

from sfu.outputs.hls.storage import Directory
from sfu.outputs.hls.stream import Limits
from sfu.outputs.hls.window import Window
from sfu.outputs.settings import Hls, Rendition
from sfu.resources.disk_threads import DiskThreads

log = logging.getLogger(__name__)

NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
ABOUT = "about.json"
KEPT = 1000
"""Programmes, ended ones included: the oldest of those go first."""
SHELVED_AFTER = 60.0
"""Seconds after its end that the newest of a programme is still held in memory, for those who were watching."""


class About(msgspec.Struct, frozen=True):
    """Whose programme lies in a directory."""

    room: str
    renditions: list[Rendition]


@dataclass(slots=True)
class Programme:
    room: str
    window: Window


class Programmes:
    """Opens and forgets windows. `expire` from time to time; times are seconds since 1970."""

    def __init__(self, settings: Hls) -> None:
        self._settings = settings
        self._root = Path(settings.directory or Path(tempfile.gettempdir()) / "aiosfu-hls")
        self.disk = DiskThreads("programmes")
        "Does everything that waits for the disk, in order."
        self._all: dict[str, Programme] = {}
        self._of_room: dict[str, str] = {}

    def open(self, room: str, programme: str, renditions: Sequence[Rendition]) -> Window:
        """A window for `programme`, an id never used before; another one of the room has to have ended."""
        if NAME.fullmatch(programme) is None or programme in self._all:
            raise ValueError("a programme needs a name of its own")
        current = self.current(room)
        if current is not None and current.ended_at is None:
            raise ValueError("this room has a programme already")
        if len(self._all) >= KEPT:
            ended = (name for name, one in self._all.items() if one.window.ended_at is not None)
            self.remove(next(ended, ""))
        storage = Directory(self._root / programme, self.disk)
        storage.write(ABOUT, msgspec.json.encode(About(room, list(renditions))))
        window = Window(programme, renditions, self._limits(), storage)
        self._all[programme] = Programme(room, window)
        self._of_room[room] = programme
        return window

    def current(self, room: str) -> Window | None:
        """What a room's viewers see: the programme on air, or the last one if it can be replayed."""
        programme = self._all.get(self._of_room.get(room, ""))
        return programme.window if programme is not None else None

    def find(self, room: str, programme: str) -> Window | None:
        """One programme of a room, on air or ended."""
        found = self._all.get(programme)
        return found.window if found is not None and found.room == room else None

    def replays(self, room: str) -> list[Window]:
        """Ended programmes of a room, oldest first."""
        return [one.window for one in self._all.values() if one.room == room and one.window.ended_at is not None]

    def remove(self, programme: str) -> None:
        """With everything that is stored of it. Idempotent."""
        found = self._all.pop(programme, None)
        if found is None:
            return
        if self._of_room.get(found.room) == programme:
            del self._of_room[found.room]
        found.window.close()

    def expire(self, now: float) -> None:
        """Removes what ended too long ago. Viewers see the end for a minute, then the replay, if there is one."""
        kept = max(self._settings.replay, SHELVED_AFTER)
        for name, programme in list(self._all.items()):
            ended_at = programme.window.ended_at
            if ended_at is not None and now - ended_at > kept:
                self.remove(name)
            elif ended_at is not None and now - ended_at > SHELVED_AFTER:
                programme.window.shelve()

    def find_stored(self) -> list[Programme]:
        """What an earlier process left in the directory. Reads the disk: for another thread than the loop's."""
        found = []
        for path in sorted(self._root.glob(f"*/{ABOUT}")):
            try:
                about = msgspec.json.decode(path.read_bytes(), type=About)
                name = path.parent.name
                if NAME.fullmatch(name) is None or name in self._all:
                    continue
                storage = Directory(path.parent, self.disk)
                window = Window.restored(name, about.renditions, self._limits(), storage, storage.found())
            except (OSError, msgspec.MsgspecError):
                continue
            found.append(Programme(about.room, window))
        return found

    def restore(self, found: Sequence[Programme], now: float) -> list[Programme]:
        """Takes up what `find_stored` found; those that are still on air, for whoever can go on with them.

        Who cannot calls their `end`.
        """
        on_air = []
        begun = set(self._all)  # since this server started
        for programme in found:
            room, window = programme.room, programme.window
            if window.programme in self._all:
                continue
            self._all[window.programme] = programme
            newest = self.current(room)
            if newest is None or (newest.programme not in begun and newest.started_at <= window.started_at):
                self._of_room[room] = window.programme
            if window.ended_at is None:
                on_air.append(programme)
        self.expire(now)
        return on_air

    def close(self) -> None:
        """Waits for what is not written yet, some seconds at most."""
        self.disk.close()

    def _limits(self) -> Limits:
        return Limits(self._settings.dvr, self._settings.memory, self._settings.replay > 0)
