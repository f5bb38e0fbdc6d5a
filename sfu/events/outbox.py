"""The webhook outbox on disk: SQLite in WAL mode. Events survive the end of the process, also by SIGKILL.

All methods block and run on one thread (`OutboxThread`). A commit is durable against a crash of the process at once, and
against a power failure from the next checkpoint on (`synchronous=NORMAL`). Each receiver has its own rows and its own bound;
the oldest rows are dropped.
"""

import logging
import sqlite3
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from sfu.errors import ConfigurationError

log = logging.getLogger(__name__)

FILE = "outbox.sqlite"
DROP_SHARE = 64
"""A full queue drops at least 1/64 of its limit at a time, so that each drop is not a search of its own."""
_SCHEMA = """
CREATE TABLE IF NOT EXISTS queue (
    position INTEGER PRIMARY KEY AUTOINCREMENT,
    receiver TEXT NOT NULL,
    room TEXT NOT NULL,
    at REAL NOT NULL,
    body BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS by_receiver ON queue (receiver, position);
"""


@dataclass(frozen=True, slots=True)
class Row:
    """One queued event of a receiver."""

    position: int
    "Increases; the order of delivery within a room."
    room: str
    at: float
    "Time of the event, seconds since 1970."
    body: bytes


@dataclass(slots=True)
class Size:
    rows: int = 0
    bytes: int = 0


@dataclass(frozen=True, slots=True)
class Dropped:
    """Rows removed because a queue was full."""

    receiver: str
    up_to: int
    "The highest removed position."
    count: int


class Outbox:
    def __init__(self, directory: Path, receivers: Sequence[str], *, max_rows: int, max_bytes: int) -> None:
        """Opens or creates the file; rows of other receivers are deleted. Raises ConfigurationError."""
        self._max_rows = max_rows
        self._max_bytes = max_bytes
        path = directory / FILE
        try:
            directory.mkdir(parents=True, exist_ok=True)
            try:
                self._database = _open(path)
            except sqlite3.DatabaseError as error:
                if isinstance(error, sqlite3.OperationalError):
                    raise
                log.error("webhook outbox is damaged and starts empty", extra={"reason": str(error)})
                for each in (path, path.with_name(FILE + "-wal"), path.with_name(FILE + "-shm")):
                    with suppress(FileNotFoundError):
                        each.rename(each.with_name(f"{each.name}.damaged-{int(time.time())}"))
                self._database = _open(path)
        except (OSError, sqlite3.Error) as error:
            reason = "another server uses it" if "locked" in str(error) else f"it cannot be opened ({error})"
            raise ConfigurationError(f"events.directory {directory}: {reason}.") from None
        marks = ",".join("?" * len(receivers))
        with self._database:
            self._database.execute(f"DELETE FROM queue WHERE receiver NOT IN ({marks})", tuple(receivers))
        self.sizes: Mapping[str, Size] = {receiver: Size() for receiver in receivers}
        query = "SELECT receiver, COUNT(*), SUM(LENGTH(body)) FROM queue GROUP BY receiver"
        for receiver, rows, size in self._database.execute(query):
            self.sizes[receiver].rows, self.sizes[receiver].bytes = rows, size

    def append(self, rows: Iterable[tuple[str, str, float, bytes]]) -> list[Dropped]:
        """Adds rows of (receiver, room, time, body) in one transaction. Raises sqlite3.Error; then nothing was added."""
        rows = list(rows)
        with self._database:
            self._database.executemany("INSERT INTO queue (receiver, room, at, body) VALUES (?, ?, ?, ?)", rows)
        for receiver, _, _, body in rows:
            self.sizes[receiver].rows += 1
            self.sizes[receiver].bytes += len(body)
        return [dropped for receiver in self.sizes if (dropped := self._trim(receiver)) is not None]

    def read(self, receiver: str, after: int, count: int) -> list[Row]:
        query = (
            "SELECT position, room, at, body FROM queue WHERE receiver = ? AND position > ? ORDER BY position LIMIT ?"
        )
        return [Row(*row) for row in self._database.execute(query, (receiver, after, count))]

    def remove(self, receiver: str, rows: Sequence[Row]) -> None:
        """Removes delivered rows. A row that was dropped meanwhile is ignored."""
        size, removed = self.sizes[receiver], 0
        with self._database:
            for row in rows:
                cursor = self._database.execute("DELETE FROM queue WHERE position = ?", (row.position,))
                if cursor.rowcount:
                    removed += 1
                    size.bytes -= len(row.body)
        size.rows -= removed

    def close(self) -> None:
        with suppress(sqlite3.Error):
            self._database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self._database.close()

    def _trim(self, receiver: str) -> Dropped | None:
        size = self.sizes[receiver]
        if size.rows <= self._max_rows and size.bytes <= self._max_bytes:
            return None
        spare_rows, spare_bytes = self._max_rows // DROP_SHARE, self._max_bytes // DROP_SHARE
        count, freed, up_to = 0, 0, 0
        query = "SELECT position, LENGTH(body) FROM queue WHERE receiver = ? ORDER BY position"
        for position, length in self._database.execute(query, (receiver,)):
            rows, stored = size.rows - count, size.bytes - freed
            if rows <= self._max_rows - spare_rows and stored <= self._max_bytes - spare_bytes:
                break
            count, freed, up_to = count + 1, freed + length, position
        with self._database:
            self._database.execute("DELETE FROM queue WHERE receiver = ? AND position <= ?", (receiver, up_to))
        size.rows -= count
        size.bytes -= freed
        return Dropped(receiver, up_to, count)


def _open(path: Path) -> sqlite3.Connection:
    database = sqlite3.connect(path, timeout=1.0, check_same_thread=False)
    try:
        # One server per outbox: without it, two would deliver the same events.
        database.execute("PRAGMA locking_mode=EXCLUSIVE")
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("PRAGMA synchronous=NORMAL")
        database.execute("PRAGMA journal_size_limit=16777216")
        database.executescript(_SCHEMA)
        database.execute("SELECT COUNT(*) FROM queue").fetchone()
        path.chmod(0o600)
    except BaseException:
        database.close()
        raise
    return database
