"""A programme on disk while it runs: fragments appended as they are made, and beside them what happened when.

    recording.1.mp4     `ftyp moov (moof mdat)…` of the first worker; recording.2.mp4 that of the next one, and so on
    events.jsonl        one object a line: {"event", "media", "time", …}; `media`: seconds into the finished recording

Whatever ends the process, everything but the last fragment is there: `sfu.outputs.finalize` makes of it one fast-start
file. JSON lines: jsonlines.org.
"""

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from sfu.outputs.disk_writer import RESERVE, DiskWriter

EVENTS: Final = "events.jsonl"
_VIDEO_RATE: Final = 90_000

State = Literal["recording", "full", "failing", "closed"]


def fragments_name(run: int) -> str:
    return f"recording.{run}.mp4"


@dataclass(frozen=True, slots=True)
class RecorderStatus:
    state: State
    error: str
    "The operating system's word for the last failure."
    size: int
    "Bytes written."
    seconds: float
    "Media given, lost ones included."
    dropped: int
    "Fragments that were lost to a full or slow disk."


@dataclass(slots=True)
class _Run:
    number: int
    epoch: float = 0.0
    first_pts: int | None = None


class Recorder:
    """Of one programme, in a directory of its own. Every method may be called by any thread; only `close` waits."""

    def __init__(
        self,
        directory: Path,
        *,
        reserve: int = RESERVE,
        now: Callable[[], float] = time.time,
        fresh: bool = False,
    ) -> None:
        """Makes the directory; continues after what an earlier recorder left in it. Raises OSError.

        `fresh`: there is no such directory yet, and nothing here waits for the disk.
        """
        self.disk = DiskWriter(directory, reserve=reserve, deferred=fresh)
        self.directory = directory
        self._now = now
        self._lock = threading.Lock()
        names = [] if fresh else [path.name.split(".")[1] for path in directory.glob("recording.*.mp4")]
        self._run = _Run(max([int(name) for name in names if name.isdigit()], default=0))
        self._origin: float | None = None  # Unix time of media time 0
        self._seconds = 0.0
        self._ended = False

    def begin(self, init: bytes, epoch: float) -> None:
        """The media of a (new) worker follow; its programme time 0 was at `epoch`, Unix seconds."""
        with self._lock:
            self._run = _Run(self._run.number + 1, epoch)
            if self._origin is None:
                self._origin = epoch
            name = fragments_name(self._run.number)
            self.disk.append(name, init, vital=True)
        self._log("media", 0.0, {"file": name, "epoch": epoch})

    def add(self, fragment: bytes, pts: int, *, independent: bool = True, duration: float = 0.0) -> None:
        """`pts` of its first picture in 1/90000 s; `independent`: it begins with a keyframe; `duration` in seconds."""
        with self._lock:
            run = self._run
            if self._origin is None:
                return
            if run.first_pts is None:
                run.first_pts = pts
                if run.epoch == self._origin:
                    self._origin = run.epoch + pts / _VIDEO_RATE
            self._seconds += duration
            self.disk.append(fragments_name(run.number), fragment, independent=independent)

    def note(self, kind: str, at: float, text: str = "", *, chapter: bool = False, **fields: object) -> None:
        """An event at programme time `at` of the present worker; a `chapter` bears `text` (or `kind`) as its title."""
        self._log(kind, at, {**({"text": text} if text else {}), **({"chapter": True} if chapter else {}), **fields})

    def snapshot(self) -> RecorderStatus:
        disk = self.disk.snapshot()
        state: State = "recording" if disk.state == "writing" else disk.state
        return RecorderStatus(state, disk.error, disk.size, self._seconds, disk.dropped)

    def close(self, timeout: float = 10.0) -> None:
        """Writes what is queued and makes it durable. Idempotent."""
        if not self._ended:
            self._ended = True
            self._log("end", None, {})
        self.disk.close(timeout)

    def _log(self, kind: str, at: float | None, fields: dict[str, object]) -> None:
        with self._lock:
            now = self._now()
            media = now if at is None else self._run.epoch + at
            media = 0.0 if self._origin is None else max(0.0, media - self._origin)
            line = {"event": kind, "media": round(media, 3), "time": round(now, 3), **fields}
            data = json.dumps(line, ensure_ascii=False, default=str).encode() + b"\n"
            self.disk.append(EVENTS, data, vital=True)
