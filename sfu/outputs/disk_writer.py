"""Files that grow while something runs: appended by a thread of their own, whole pieces only, made durable as it goes.

A slow disk stops nobody and a full one harms nobody: pieces are lost, counted, and a file goes on with the next piece
that needs none before it (a keyframe's). What a full disk took half of is cut off again.
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
"""Bytes that wait for the disk: half a minute of 1080p."""
RESERVE: Final = 256_000_000
"""Bytes of the file system that are left to others."""
SYNC_EVERY: Final = 2.0
"""Seconds that a power failure may cost."""
_RETRY: Final = 5.0

State = Literal["writing", "full", "failing", "closed"]


@dataclass(frozen=True, slots=True)
class DiskStatus:
    state: State
    error: str
    "The operating system's word for the last failure."
    size: int
    "Bytes written."
    dropped: int
    "Pieces that were lost to a full or slow disk."


@dataclass(frozen=True, slots=True)
class _Piece:
    name: str
    data: bytes
    independent: bool
    vital: bool


def number(directory: Path) -> str:
    """What a recording is called in logs: the end of its directory's name, without the room's."""
    return "-".join(directory.name.split("-")[-3:])


class DiskWriter:
    """Files of one directory. Every method may be called by any thread; only `close` waits."""

    def __init__(self, directory: Path, *, reserve: int = RESERVE, deferred: bool = False) -> None:
        """Makes the directory. Raises OSError. `deferred`: its thread makes it with the first piece, so nothing waits."""
        if not deferred:
            directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self._made = not deferred
        self._reserve = reserve
        self._condition = threading.Condition()
        self._queue: deque[_Piece] = deque()
        self._held = 0
        self._closed = False
        self._skipping: set[str] = set()  # of which the queue did not hold the piece before
        self._broken: set[str] = set()  # of which the disk did not take it
        self._files: dict[str, BinaryIO] = {}
        self._unsynced = False
        self._state: State = "writing"
        self._error = ""
        self._size = self._dropped = 0
        self._retry_at = 0.0
        self._thread = threading.Thread(target=self._run, name="disk", daemon=True)
        self._thread.start()

    def append(self, name: str, data: bytes, *, independent: bool = True, vital: bool = False) -> None:
        """`independent`: makes sense without the piece before. `vital`: small, and tried whatever the state is."""
        with self._condition:
            if self._closed:
                return
            full = self._held + len(data) > QUEUE_LIMIT
            if not vital and (full or (name in self._skipping and not independent)):
                self._skipping.add(name)
                self._dropped += 1
                return
            if not vital:
                self._skipping.discard(name)
            self._queue.append(_Piece(name, data, independent, vital))
            self._held += len(data)
            self._condition.notify()

    def snapshot(self) -> DiskStatus:
        with self._condition:
            return DiskStatus(self._state, self._error, self._size, self._dropped)

    def close(self, timeout: float = 10.0) -> None:
        """Writes what is queued and makes it durable. Idempotent."""
        with self._condition:
            self._closed = True
            self._condition.notify()
        self._thread.join(timeout)

    # -- its thread ---------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        sync_at = time.monotonic() + SYNC_EVERY
        while True:
            with self._condition:
                self._condition.wait_for(lambda: self._queue or self._closed, SYNC_EVERY)
                batch = list(self._queue)
                self._queue.clear()
                self._held = 0
                closing = self._closed
            for piece in batch:
                self._write(piece)
            if closing or time.monotonic() >= sync_at:
                self._sync()
                sync_at = time.monotonic() + SYNC_EVERY
            if closing:
                break
        for file in self._files.values():
            file.close()
        with self._condition:
            self._state = "closed"

    def _write(self, piece: _Piece) -> None:
        pause = self._state != "writing" and time.monotonic() < self._retry_at
        if not piece.vital and (pause or (piece.name in self._broken and not piece.independent)):
            self._lost(piece)
            return
        try:
            if not self._made:
                self.directory.mkdir(parents=True, exist_ok=True)
                self._made = True
            if not piece.vital:
                self._check_room(len(piece.data))
            file = self._file(piece.name)
            before = file.seek(0, os.SEEK_END)
            if file.write(piece.data) != len(piece.data):
                os.ftruncate(file.fileno(), before)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            self._lost(piece)
            self._failed(error)
            return
        self._unsynced = True
        with self._condition:
            self._size += len(piece.data)
            if not piece.vital:
                self._broken.discard(piece.name)
                if self._state != "writing":
                    log.warning("recording goes on", extra={"recording": number(self.directory)})
                    self._state, self._error = "writing", ""

    def _file(self, name: str) -> BinaryIO:
        if name not in self._files:
            self._files[name] = (self.directory / name).open("ab", buffering=0)
        return self._files[name]

    def _check_room(self, size: int) -> None:
        found = os.statvfs(self.directory)
        if found.f_bavail * found.f_frsize - size < self._reserve:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _lost(self, piece: _Piece) -> None:
        with self._condition:
            self._dropped += 1
            if not piece.vital:
                self._broken.add(piece.name)

    def _failed(self, error: OSError) -> None:
        with self._condition:
            if self._state == "writing":
                log.error(
                    "recording not written", extra={"recording": number(self.directory), "reason": error.strerror}
                )
            self._state = "full" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "failing"
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
                self._failed(error)
