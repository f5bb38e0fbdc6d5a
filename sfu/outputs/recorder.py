"""Records the mix to disk: appends fragments while they are produced, and writes an event log next to them.

    recording.1.mp4     `ftyp moov (moof mdat)…` of the first worker; recording.2.mp4 of the next one, and so on
    events.jsonl        one object per line: {"event", "media", "time", …}; `media`: seconds into the finished recording

After a crash only the last fragment is lost. `sfu.outputs.finalize` turns the files into one fast-start MP4. JSON lines:
jsonlines.org.
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
    "Message of the operating system for the last failure."
    size: int
    "Bytes written."
    seconds: float
    "Seconds of media received, including dropped fragments."
    dropped: int
    "Fragments dropped because the disk was full or too slow."


@dataclass(slots=True)
class _Run:
    number: int
    epoch: float = 0.0
    first_pts: int | None = None


class Recorder:
    """Records one mix into its own directory. Any thread may call all methods; only `close` blocks."""

    def __init__(
        self,
        directory: Path,
        *,
        reserve: int = RESERVE,
        now: Callable[[], float] = time.time,
        fresh: bool = False,
    ) -> None:
        """Creates the directory, or continues a recording in it. Raises OSError.

        `fresh`: the directory does not exist yet, and the constructor does not wait for the disk.
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
        """Starts the media of a new worker. `epoch`: Unix time of its mix time 0."""
        with self._lock:
            self._run = _Run(self._run.number + 1, epoch)
            if self._origin is None:
                self._origin = epoch
            name = fragments_name(self._run.number)
            self.disk.append(name, init, vital=True)
        self._log("media", 0.0, {"file": name, "epoch": epoch})

    def add(self, fragment: bytes, pts: int, *, independent: bool = True, duration: float = 0.0) -> None:
        """`pts`: time of the first picture in 1/90000 s. `independent`: begins with a keyframe. `duration`: seconds."""
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
        """Logs an event at mix time `at` of the current worker. A `chapter` gets `text` (or `kind`) as its title."""
        self._log(kind, at, {**({"text": text} if text else {}), **({"chapter": True} if chapter else {}), **fields})

    def snapshot(self) -> RecorderStatus:
        disk = self.disk.snapshot()
        state: State = "recording" if disk.state == "writing" else disk.state
        return RecorderStatus(state, disk.error, disk.size, self._seconds, disk.dropped)

    def close(self, timeout: float = 10.0) -> None:
        """Writes and syncs what is queued. Idempotent."""
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
