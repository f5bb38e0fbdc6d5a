"""Appends to files on a dedicated thread, in whole chunks, and syncs them regularly.

A slow or full disk never blocks the caller: chunks are dropped and counted, and the file continues with the next
independent chunk (one that begins with a keyframe). A partly written chunk is truncated again.
"""

import errno
import logging
import os
import threading
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final, Literal

log = logging.getLogger(__name__)

QUEUE_LIMIT: Final = 32_000_000
"""Maximum bytes queued for the disk: half a minute of 1080p."""
RESERVE: Final = 256_000_000
"""Bytes to leave free on the file system."""
SYNC_INTERVAL: Final = 2.0
"""Seconds between syncs: at most this much is lost in a power failure."""
_RETRY_DELAY: Final = 5.0

State = Literal["writing", "full", "failing", "closed"]


@dataclass(frozen=True, slots=True)
class DiskStatus:
    state: State
    error: str
    "Message of the operating system for the last failure."
    size: int
    "Bytes written."
    dropped: int
    "Chunks dropped because the disk was full or too slow."


@dataclass(frozen=True, slots=True)
class _Chunk:
    name: str
    data: bytes
    independent: bool
    vital: bool


def number(directory: Path) -> str:
    """Name of a recording in logs: the end of its directory name, without the room name."""
    return "-".join(directory.name.split("-")[-3:])


class DiskWriter:
    """Appends to the files of one directory. Any thread may call all methods; only `close` blocks."""

    def __init__(self, directory: Path, *, reserve: int = RESERVE, deferred: bool = False) -> None:
        """Creates the directory; raises OSError. With `deferred`, the writer thread creates it with the first chunk, so
        that the constructor never waits for the disk.
        """
        if not deferred:
            directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self._created = not deferred
        self._reserve = reserve
        self._condition = threading.Condition()
        self._queue: deque[_Chunk] = deque()
        self._queued_bytes = 0
        self._closed = False
        self._skipping: set[str] = set()  # files whose previous chunk did not fit the queue
        self._broken: set[str] = set()  # files whose previous chunk was not written
        self._files: dict[str, BinaryIO] = {}
        self._unsynced = False
        self._state: State = "writing"
        self._error = ""
        self._size = self._dropped = 0
        self._retry_at = 0.0
        self._thread = threading.Thread(target=self._run, name="disk", daemon=True)
        self._thread.start()

    def append(self, name: str, data: bytes, *, independent: bool = True, vital: bool = False) -> None:
        """`independent`: readable without the previous chunk. `vital`: small, and written in any state."""
        with self._condition:
            if self._closed:
                return
            full = self._queued_bytes + len(data) > QUEUE_LIMIT
            if not vital and (full or (name in self._skipping and not independent)):
                self._skipping.add(name)
                self._dropped += 1
                return
            if not vital:
                self._skipping.discard(name)
            self._queue.append(_Chunk(name, data, independent, vital))
            self._queued_bytes += len(data)
            self._condition.notify()

    def snapshot(self) -> DiskStatus:
        with self._condition:
            return DiskStatus(self._state, self._error, self._size, self._dropped)

    def close(self, timeout: float = 10.0) -> None:
        """Writes and syncs what is queued. Idempotent."""
        with self._condition:
            self._closed = True
            self._condition.notify()
        self._thread.join(timeout)

    # -- writer thread ------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        sync_at = time.monotonic() + SYNC_INTERVAL
        while True:
            with self._condition:
                self._condition.wait_for(lambda: self._queue or self._closed, SYNC_INTERVAL)
                batch = list(self._queue)
                self._queue.clear()
                self._queued_bytes = 0
                closing = self._closed
            for chunk in batch:
                self._write(chunk)
            if closing or time.monotonic() >= sync_at:
                self._sync()
                sync_at = time.monotonic() + SYNC_INTERVAL
            if closing:
                break
        for file in self._files.values():
            file.close()
        with self._condition:
            self._state = "closed"

    def _write(self, chunk: _Chunk) -> None:
        pause = self._state != "writing" and time.monotonic() < self._retry_at
        if not chunk.vital and (pause or (chunk.name in self._broken and not chunk.independent)):
            self._count_dropped(chunk)
            return
        try:
            if not self._created:
                self.directory.mkdir(parents=True, exist_ok=True)
                self._created = True
            if not chunk.vital:
                self._check_room(len(chunk.data))
            file = self._file(chunk.name)
            before = file.seek(0, os.SEEK_END)
            if file.write(chunk.data) != len(chunk.data):
                os.ftruncate(file.fileno(), before)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            self._count_dropped(chunk)
            self._failed(error)
            return
        self._unsynced = True
        with self._condition:
            self._size += len(chunk.data)
            if not chunk.vital:
                self._broken.discard(chunk.name)
                if self._state != "writing":
                    log.warning("recording resumed", extra={"recording": number(self.directory)})
                    self._state, self._error = "writing", ""

    def _file(self, name: str) -> BinaryIO:
        if name not in self._files:
            self._files[name] = (self.directory / name).open("ab", buffering=0)
        return self._files[name]

    def _check_room(self, size: int) -> None:
        found = os.statvfs(self.directory)
        if found.f_bavail * found.f_frsize - size < self._reserve:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _count_dropped(self, chunk: _Chunk) -> None:
        with self._condition:
            self._dropped += 1
            if not chunk.vital:
                self._broken.add(chunk.name)

    def _failed(self, error: OSError) -> None:
        with self._condition:
            if self._state == "writing":
                log.error(
                    "recording not written", extra={"recording": number(self.directory), "reason": error.strerror}
                )
            self._state = "full" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "failing"
            self._error = error.strerror or type(error).__name__
            self._retry_at = time.monotonic() + _RETRY_DELAY

    def _sync(self) -> None:
        if not self._unsynced:
            return
        self._unsynced = False
        for file in self._files.values():
            try:
                os.fdatasync(file.fileno())
            except OSError as error:
                self._failed(error)
