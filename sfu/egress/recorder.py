"""A programme on disk while it runs: fragments appended as they are made, and beside them what happened when.

    programme.1.mp4     `ftyp moov (moof mdat)…` of the first worker; programme.2.mp4 that of the next one, and so on
    events.jsonl        one object a line: {"event", "media", "time", …}; `media`: seconds into the finished recording

Whatever ends the process, everything but the last fragment is there: `sfu.egress.finalise` makes of it one fast-start
file. Writing has a thread of its own, so a slow disk stops nobody; a full one loses fragments up to the next keyframe,
and says so. JSON lines: jsonlines.org.
"""

import json
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Final, Literal

log = logging.getLogger(__name__)

EVENTS: Final = "events.jsonl"
QUEUE_LIMIT: Final = 32_000_000
"""Bytes that wait for the disk: half a minute of 1080p."""
RESERVE: Final = 256_000_000
"""Bytes of the file system that a recording leaves to others."""
SYNC_EVERY: Final = 2.0
"""Seconds that a power failure may cost."""
_RETRY: Final = 5.0
_VIDEO_RATE: Final = 90_000

State = Literal["recording", "full", "failing", "closed"]


def fragments_name(run: int) -> str:
    return f"programme.{run}.mp4"


@dataclass(frozen=True, slots=True)
class RecorderStatus:
    state: State
    error: str
    "The operating system's word for the last failure."
    size: int
    "Bytes written."
    seconds: float
    "Media written."
    dropped: int
    "Fragments that were lost to a full or slow disk."


@dataclass(frozen=True, slots=True)
class _Write:
    run: int
    data: bytes
    independent: bool = True
    begins: bool = False
    event: bool = False
    seconds: float = 0.0


@dataclass(slots=True)
class _Run:
    number: int = 0
    epoch: float = 0.0
    first_pts: int | None = field(default=None)


class Recorder:
    """Of one programme, in a directory of its own. Every method may be called by any thread and none waits for a disk."""

    def __init__(self, directory: Path, *, reserve: int = RESERVE, now: Callable[[], float] = time.time) -> None:
        """Makes the directory; goes on after what an earlier recorder left in it. Raises OSError."""
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self._reserve = reserve
        self._now = now
        self._condition = threading.Condition()
        self._queue: deque[_Write] = deque()
        self._held = 0
        self._closed = False
        self._skipping = False  # what did not fit the queue is missing before what comes next
        self._broken = False  # what the disk did not take is
        self._first_epoch: float | None = None
        runs = [int(path.name.split(".")[1]) for path in directory.glob("programme.*.mp4") if path.name.count(".") == 2]
        self._run = _Run(max([number for number in runs if number > 0], default=0))
        self._files: dict[str, BinaryIO] = {}
        self._unsynced = False
        self._state: State = "recording"
        self._error = ""
        self._size = self._dropped = 0
        self._seconds = 0.0
        self._retry_at = 0.0
        self._thread = threading.Thread(target=self._write_all, name="recorder", daemon=True)
        self._thread.start()

    def begin(self, init: bytes, epoch: float) -> None:
        """The media of a (new) worker follow; its programme time 0 was at `epoch`, Unix seconds."""
        with self._condition:
            self._run = _Run(self._run.number + 1, epoch)
            if self._first_epoch is None:
                self._first_epoch = epoch
            self._put(_Write(self._run.number, init, begins=True))
        self._log({"event": "media", "file": fragments_name(self._run.number), "epoch": epoch}, 0.0)

    def add(self, fragment: bytes, pts: int, *, independent: bool = True, duration: float = 0.0) -> None:
        """`pts` of its first picture in 1/90000 s; `independent`: it begins with a keyframe; `duration` in seconds."""
        with self._condition:
            run = self._run
            if not run.number:
                return
            if run.first_pts is None:
                run.first_pts = pts
                if run.epoch == self._first_epoch:
                    self._first_epoch = run.epoch + pts / _VIDEO_RATE
            self._put(_Write(run.number, fragment, independent, seconds=duration))

    def note(self, kind: str, at: float, text: str = "", *, chapter: bool = False, **fields: object) -> None:
        """An event at programme time `at` of the present worker; a `chapter` bears `text` (or `kind`) as its title."""
        self._log(
            {"event": kind, **({"text": text} if text else {}), **({"chapter": True} if chapter else {}), **fields}, at
        )

    def snapshot(self) -> RecorderStatus:
        with self._condition:
            return RecorderStatus(self._state, self._error, self._size, self._seconds, self._dropped)

    def close(self, timeout: float = 10.0) -> None:
        """Writes what is queued and makes it durable. Idempotent."""
        if not self._closed:
            self._log({"event": "end"}, None)
        with self._condition:
            self._closed = True
            self._condition.notify()
        self._thread.join(timeout)

    def _log(self, line: dict[str, object], at: float | None) -> None:
        with self._condition:
            now = self._now()
            if at is not None and self._first_epoch is not None:
                media = self._run.epoch + at - self._first_epoch
            else:
                media = now - self._first_epoch if self._first_epoch is not None else 0.0
            head = {"event": line.pop("event"), "media": round(max(0.0, media), 3), "time": round(now, 3)}
            data = json.dumps({**head, **line}, ensure_ascii=False, default=str).encode() + b"\n"
            self._put(_Write(self._run.number, data, event=True))

    def _put(self, write: _Write) -> None:
        if self._closed:
            return
        media = not write.event and not write.begins
        if self._held + len(write.data) > QUEUE_LIMIT or (media and self._skipping and not write.independent):
            self._skipping = self._skipping or media
            self._dropped += media
            return
        if media:
            self._skipping = False
        self._queue.append(write)
        self._held += len(write.data)
        self._condition.notify()

    # -- its thread ---------------------------------------------------------------------------------------------------

    def _write_all(self) -> None:
        sync_at = time.monotonic() + SYNC_EVERY
        while True:
            with self._condition:
                self._condition.wait_for(lambda: self._queue or self._closed, SYNC_EVERY)
                batch = list(self._queue)
                self._queue.clear()
                self._held = 0
                closing = self._closed
            for write in batch:
                self._write(write)
            if closing or time.monotonic() >= sync_at:
                self._sync()
                sync_at = time.monotonic() + SYNC_EVERY
            if closing:
                break
        for file in self._files.values():
            file.close()
        with self._condition:
            self._state = "closed"

    def _write(self, write: _Write) -> None:
        """Whole or not at all: what a full disk takes half of is cut off again."""
        if not write.event and not write.begins:
            pause = self._state != "recording" and time.monotonic() < self._retry_at
            if pause or (self._broken and not write.independent):
                self._broken = True
                self._dropped += 1
                return
        name = EVENTS if write.event else fragments_name(write.run)
        try:
            if not write.event and not self._has_room(len(write.data)):
                raise OSError(28, "No space left on device")
            file = self._file(name)
            before = file.seek(0, os.SEEK_END)
            try:
                file.write(write.data)
            except OSError:
                os.ftruncate(file.fileno(), before)
                raise
        except OSError as error:
            self._failed(write, error)
            return
        self._unsynced = True
        with self._condition:
            self._size += len(write.data)
            self._seconds += write.seconds
            if not write.event:
                self._broken = False
                if self._state != "recording":
                    log.warning("recording goes on", extra={"directory": str(self.directory)})
                    self._state, self._error = "recording", ""

    def _file(self, name: str) -> BinaryIO:
        if name not in self._files:
            self._files[name] = (self.directory / name).open("ab", buffering=0)
        return self._files[name]

    def _has_room(self, size: int) -> bool:
        found = os.statvfs(self.directory)
        return found.f_bavail * found.f_frsize - size >= self._reserve

    def _failed(self, write: _Write, error: OSError) -> None:
        with self._condition:
            if not write.event:
                self._broken = True
                self._dropped += 1
            if self._state == "recording":
                log.error("recording not written", extra={"directory": str(self.directory), "reason": error.strerror})
            self._state = "full" if error.errno in (28, 122) else "failing"
            self._error = error.strerror or type(error).__name__
            self._retry_at = time.monotonic() + _RETRY

    def _sync(self) -> None:
        if not self._unsynced:
            return
        self._unsynced = False
        for file in self._files.values():
            try:
                os.fdatasync(file.fileno())
            except OSError as error:
                with self._condition:
                    self._state, self._error = "failing", error.strerror or ""
