"""A programme that is kept: a directory of its own with the fragments as they came and the event log. Crash-safe."""

import json
import logging
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec

from sfu.production.protocol import Event

log = logging.getLogger(__name__)

ABOUT = "about.json"


@dataclass(frozen=True, slots=True)
class Kept:
    """One recording as the directory tells of it."""

    name: str
    directory: Path
    started_at: float
    recording: bool
    files: list[tuple[str, int]]


class About(msgspec.Struct, frozen=True):
    """What a recording's directory says of itself."""

    room: str
    programme: str
    started_at: float
    ended: bool = False


def kept(root: Path, room: str) -> list[Kept]:
    """Recordings of a room, newest first."""
    found = []
    for path in root.glob(f"*/{ABOUT}"):
        try:
            about = msgspec.json.decode(path.read_bytes(), type=About)
            files = [(one.name, one.stat().st_size) for one in sorted(path.parent.iterdir()) if one.name != ABOUT]
        except (OSError, msgspec.MsgspecError):
            continue
        if about.room == room:
            found.append(Kept(path.parent.name, path.parent.absolute(), about.started_at, not about.ended, files))
    return sorted(found, key=lambda one: one.started_at, reverse=True)


class Recording:
    """Raises OSError when its directory cannot be made; later faults are counted and logged once."""

    def __init__(self, directory: Path, room: str, programme: str) -> None:
        directory.mkdir(parents=True)
        self.directory = directory
        self._about = About(room, programme, time.time())
        (directory / ABOUT).write_bytes(msgspec.json.encode(self._about))
        self.failures = 0
        self.size = 0
        "Bytes."
        self._runs = 0

    def begin(self, init: bytes, epoch: float) -> None:
        """A worker's media follow; its programme time 0 was at `epoch`."""
        self._runs += 1
        self._append(self.directory / self._name, init)
        self._log({"event": "media", "at": epoch, "file": self._name})

    def add(self, fragment: bytes, pts: int) -> None:
        if self._runs:
            self._append(self.directory / self._name, fragment)

    def note(self, event: Event) -> None:
        self._log({"event": event.kind, "time": event.at, "text": event.text, "chapter": event.chapter, **event.fields})

    def close(self) -> None:
        """Idempotent."""
        if self._about.ended:
            return
        self._log({"event": "end", "at": time.time()})
        self._about = msgspec.structs.replace(self._about, ended=True)
        with suppress(OSError):
            (self.directory / ABOUT).write_bytes(msgspec.json.encode(self._about))

    @property
    def _name(self) -> str:
        return "programme.mp4" if self._runs <= 1 else f"programme-{self._runs}.mp4"

    def _log(self, line: dict[str, object]) -> None:
        self._append(self.directory / "events.jsonl", json.dumps(line, ensure_ascii=False).encode() + b"\n")

    def _append(self, path: Path, data: bytes) -> None:
        try:
            with path.open("ab") as file:
                file.write(data)
            self.size += len(data)
        except OSError as error:
            self.failures += 1
            if self.failures == 1:
                log.error("recording not written", extra={"reason": error.strerror})
