"""Where a programme lies once it is older than the last minute: one face for a directory and for nothing.

Names are made by `stream`, never by a request. What is written under a name never changes. No method waits for a disk: a
server's programmes share one `DiskExecutor` with one thread, which does all writes in their order. When its queue is full, a
file is dropped: it stays out of the directory, is counted and logged, and the window in memory goes on.
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
        """Whether what is written can be expected to be there later."""

    def write(self, name: str, data: bytes) -> None: ...

    def path(self, name: str) -> Path | None:
        """The file that holds it; None: it is not here, or not yet."""

    def remove(self, name: str) -> None: ...

    def note(self, line: bytes) -> None:
        """Appends to the journal, by which a server that starts again finds the programme."""

    def clear(self) -> None:
        """Removes everything."""


class NoStorage:
    """Keeps nothing: what leaves memory is gone."""

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
    """A directory of one programme. A full or slow disk costs the past of a programme, not the programme.

    Methods are called on the loop; `found` and those with an underscore on the disk's thread.
    """

    __slots__ = ("_disk", "_made", "_stored", "_unusable", "dropped", "failures", "root")

    def __init__(self, root: Path, disk: DiskExecutor) -> None:
        """The directory is made with the first write."""
        self.root = root
        self.failures = 0
        "Operations that the disk refused."
        self.dropped = 0
        "Files that a full queue refused."
        self._disk = disk
        self._made: set[Path] = set()
        self._stored: set[str] = set()  # names that are on the disk; the other thread adds them
        self._unusable = False

    @property
    def works(self) -> bool:
        return not self._unusable

    def write(self, name: str, data: bytes) -> None:
        if not self._disk.submit(lambda: self._write(name, data), len(data)):
            self.dropped += 1
            if self.dropped & (self.dropped - 1) == 0:  # each time their number has doubled
                log.error("programme not stored: the disk is too slow", extra={"dropped": self.dropped})

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
        """Looks at what an earlier process left. The journal's whole lines: one that a crash cut short is left out."""
        self._stored = {str(path.relative_to(self.root)) for path in self.root.glob("*/*") if path.is_file()}
        try:
            return (self.root / JOURNAL).read_bytes().split(b"\n")[:-1]
        except OSError:
            return []

    def _write(self, name: str, data: bytes) -> None:
        path = self.root / name
        try:
            self._make(path.parent)
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
            self._make(self.root)
            with (self.root / JOURNAL).open("ab") as journal:
                journal.write(line + b"\n")
        except OSError as error:
            self._failed(error)

    def _make(self, directory: Path) -> None:
        if directory not in self._made:
            try:
                directory.mkdir(parents=True, exist_ok=True)
            except OSError:
                self._unusable = not self._made
                raise
            self._made.add(directory)
            self._unusable = False

    def _failed(self, error: OSError) -> None:
        self.failures += 1
        if self.failures == 1:
            log.error("programme not written", extra={"reason": error.strerror})
