"""Storage of live-stream segments that are no longer in memory: a directory, or none.

Names come from `rendition_stream`, never from a request. Files never change once written. No method waits for the disk:
all live streams of a server share one `DiskExecutor` with one thread, which writes in order. When its queue is full,
the file is dropped, counted and logged; the live stream in memory is not affected.
"""

import logging
import shutil
from pathlib import Path
from typing import Protocol

from sfu.resources.disk_executor import DiskExecutor

log = logging.getLogger(__name__)


class Storage(Protocol):
    @property
    def works(self) -> bool:
        """Whether written files can be expected to exist later."""

    def write(self, name: str, data: bytes) -> None: ...

    def path(self, name: str) -> Path | None:
        """Path of the stored file; None: not stored, or not yet."""

    def remove(self, name: str) -> None: ...

    def note(self, line: bytes) -> None:
        """Appends a line to the journal, from which a restarted server restores the live stream."""

    def clear(self) -> None:
        """Removes everything."""


class NoStorage:
    """Stores nothing: media that leaves memory is lost."""

    works = False

    def write(self, name: str, data: bytes) -> None:
        pass

    def path(self, name: str) -> Path | None:
        return None

    def remove(self, name: str) -> None:
        pass

    def note(self, line: bytes) -> None:
        pass

    def clear(self) -> None:
        pass


JOURNAL = "journal.jsonl"


class DirectoryStorage:
    """Stores one live stream in a directory. A full or slow disk affects DVR and replay, not the live edge.

    The event loop calls the methods; the disk thread calls `found` and the methods with an underscore.
    """

    __slots__ = ("_created", "_disk", "_stored", "_unusable", "dropped", "failures", "root")

    def __init__(self, root: Path, disk: DiskExecutor) -> None:
        """Does not touch the disk; the first write creates the directory."""
        self.root = root
        self.failures = 0
        "Failed disk operations."
        self.dropped = 0
        "Files dropped because the queue was full."
        self._disk = disk
        self._created: set[Path] = set()
        self._stored: set[str] = set()  # names on disk; added by the disk thread
        self._unusable = False

    @property
    def works(self) -> bool:
        return not self._unusable

    def write(self, name: str, data: bytes) -> None:
        if not self._disk.submit(lambda: self._write(name, data), len(data)):
            self.dropped += 1
            if self.dropped & (self.dropped - 1) == 0:  # whenever the number has doubled
                log.error("live stream not stored: the disk is too slow", extra={"dropped": self.dropped})

    def path(self, name: str) -> Path | None:
        return self.root / name if name in self._stored else None

    def remove(self, name: str) -> None:
        self._disk.submit(lambda: self._remove(name))

    def note(self, line: bytes) -> None:
        self._disk.submit(lambda: self._note(line), len(line))

    def clear(self) -> None:
        self._stored = set()
        self._disk.submit(lambda: shutil.rmtree(self.root, ignore_errors=True))

    def found(self) -> list[bytes]:
        """Scans the files of an earlier process. Returns the journal's complete lines, without one that a crash cut short."""
        self._stored = {str(path.relative_to(self.root)) for path in self.root.glob("*/*") if path.is_file()}
        try:
            return (self.root / JOURNAL).read_bytes().split(b"\n")[:-1]
        except OSError:
            return []

    def _write(self, name: str, data: bytes) -> None:
        path = self.root / name
        try:
            self._create(path.parent)
            path.write_bytes(data)
            self._stored.add(name)
        except OSError as error:
            self._failed(error)
            try:
                path.unlink(missing_ok=True)
            except OSError:
                return

    def _remove(self, name: str) -> None:
        self._stored.discard(name)
        try:
            (self.root / name).unlink(missing_ok=True)
        except OSError as error:
            self._failed(error)

    def _note(self, line: bytes) -> None:
        try:
            self._create(self.root)
            with (self.root / JOURNAL).open("ab") as journal:
                journal.write(line + b"\n")
        except OSError as error:
            self._failed(error)

    def _create(self, directory: Path) -> None:
        if directory not in self._created:
            try:
                directory.mkdir(parents=True, exist_ok=True)
            except OSError:
                self._unusable = not self._created
                raise
            self._created.add(directory)
            self._unusable = False

    def _failed(self, error: OSError) -> None:
        self.failures += 1
        if self.failures == 1:
            log.error("live stream not written", extra={"reason": error.strerror})
