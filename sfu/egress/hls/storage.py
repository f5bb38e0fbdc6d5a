"""Where a programme lies once it is older than the last minute: one face for a directory and for nothing.

Names are made by `stream`, never by a request. What is written under a name never changes.
"""

import logging
import shutil
from pathlib import Path
from typing import Protocol

log = logging.getLogger(__name__)


class Storage(Protocol):
    def write(self, name: str, data: bytes) -> None: ...

    def path(self, name: str) -> Path | None:
        """The file that holds it; None: it is not here."""

    def remove(self, name: str) -> None: ...

    def note(self, line: bytes) -> None:
        """Appends to the journal, by which a server that starts again finds the programme."""

    def clear(self) -> None:
        """Removes everything."""


class NoStorage:
    """Keeps nothing: what leaves memory is gone."""

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


class Directory:
    """A directory of one programme. A full disk costs the past of a programme, not the programme: failures are counted."""

    __slots__ = ("_known", "failures", "root")

    def __init__(self, root: Path) -> None:
        """Raises OSError when the directory cannot be made."""
        root.mkdir(parents=True, exist_ok=True)
        self.root = root
        self.failures = 0
        self._known: set[Path] = set()

    def write(self, name: str, data: bytes) -> None:
        path = self.root / name
        try:
            if path.parent not in self._known:
                path.parent.mkdir(parents=True, exist_ok=True)
                self._known.add(path.parent)
            path.write_bytes(data)
        except OSError as error:
            self._failed(error)
            path.unlink(missing_ok=True)

    def path(self, name: str) -> Path | None:
        path = self.root / name
        return path if path.is_file() else None

    def remove(self, name: str) -> None:
        (self.root / name).unlink(missing_ok=True)

    def note(self, line: bytes) -> None:
        try:
            with (self.root / JOURNAL).open("ab") as journal:
                journal.write(line + b"\n")
        except OSError as error:
            self._failed(error)

    def notes(self) -> list[bytes]:
        """The journal's whole lines; one that a crash cut short is left out."""
        try:
            return (self.root / JOURNAL).read_bytes().split(b"\n")[:-1]
        except OSError:
            return []

    def clear(self) -> None:
        shutil.rmtree(self.root, ignore_errors=True)

    def _failed(self, error: OSError) -> None:
        self.failures += 1
        if self.failures == 1:
            log.error("programme not written", extra={"reason": error.strerror})
