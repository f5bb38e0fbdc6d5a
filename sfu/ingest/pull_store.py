"""The cameras that a server pulls, with their credentials, in a JSON file that only the server's user can read."""

import json
import threading
from dataclasses import asdict, dataclass, field
from pathlib import Path

import msgspec

from sfu.errors import ConfigurationError
from sfu.ingest import private_file


@dataclass(frozen=True, slots=True)
class StoredPull:
    """One camera. Its representation has no credentials."""

    id: str
    room: str
    identity: str
    name: str
    created_at: float
    "Seconds since 1970."
    url: str = field(repr=False)


class PullStore:
    """Methods run on the event loop; `save` may run in another thread."""

    def __init__(self, path: Path | None) -> None:
        """`path` None: cameras are not stored. Raises ConfigurationError for an unreadable file."""
        self._path = path
        self._saving = threading.Lock()
        self._by_id: dict[str, StoredPull] = {one.id: one for one in _load(path)} if path is not None else {}
        self._changed = False

    def list(self) -> list[StoredPull]:
        return list(self._by_id.values())

    def add(self, pull: StoredPull) -> None:
        """Call `save` afterwards."""
        self._by_id = {**self._by_id, pull.id: pull}
        self._changed = True

    def remove(self, identifier: str) -> None:
        """Does nothing if there is no such camera. Call `save` afterwards."""
        if identifier in self._by_id:
            self._by_id = {name: one for name, one in self._by_id.items() if name != identifier}
            self._changed = True

    def save(self) -> None:
        """Writes all cameras to the file if they have changed. Blocks. Raises OSError."""
        with self._saving:
            if self._path is None or not self._changed:
                return
            self._changed = False
            try:
                stored = [asdict(pull) for pull in self._by_id.values()]
                private_file.write(self._path, json.dumps({"pulls": stored}, indent=1))
            except OSError:
                self._changed = True
                raise


class _File(msgspec.Struct):
    pulls: list[StoredPull]


def _load(path: Path) -> list[StoredPull]:
    try:
        return msgspec.json.decode(path.read_bytes(), type=_File).pulls
    except FileNotFoundError:
        return []
    except OSError as error:
        raise ConfigurationError(f"ingest.pulls_file {path} cannot be read: {error.strerror}.") from None
    except msgspec.MsgspecError as error:
        raise ConfigurationError(f"ingest.pulls_file {path} is not a file of cameras: {error}.") from None
