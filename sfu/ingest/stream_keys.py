"""Stream keys: each opens one room for one encoder. Stored as hashes in a JSON file.

A key has 128 random bits. SHA-256 is enough to store it: a slow hash protects passwords that people choose, because they
can be guessed; 128 random bits cannot. The lookup uses the hash of the key that arrived: its time tells an attacker
nothing, because the attacker cannot choose the bytes of a hash. The last comparison is constant-time.
"""

import hashlib
import hmac
import json
import secrets
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import msgspec

from sfu.errors import AtCapacity, ConfigurationError, NotFound
from sfu.ingest import private_file

KEY_BYTES: Final = 16


@dataclass(frozen=True, slots=True)
class StreamKey:
    """A stored key. `hash`: SHA-256 of the key, in hexadecimal digits."""

    id: str
    room: str
    identity: str
    name: str
    hash: str
    created_at: float
    "Seconds since 1970."


class StreamKeys:
    """The keys of a server. Methods run on the event loop; `save` may run in another thread."""

    def __init__(self, path: Path | None, limit: int) -> None:
        """`path` None: keys are not stored. Raises ConfigurationError for an unreadable file."""
        self._path = path
        self._limit = limit
        self._saving = threading.Lock()
        self._by_hash: dict[str, StreamKey] = {one.hash: one for one in _load(path)} if path is not None else {}
        self._temporary: set[str] = set()

    def __len__(self) -> int:
        return len(self._by_hash)

    def list(self, room: str = "") -> list[StreamKey]:
        """All keys, or those of a room; oldest first."""
        found = [key for key in self._by_hash.values() if not room or key.room == room]
        return sorted(found, key=lambda key: (key.created_at, key.id))

    def create(self, room: str, identity: str, name: str, *, temporary: bool = False) -> tuple[StreamKey, str]:
        """Returns the record and the key itself, which is not stored. `temporary`: until the server stops.

        Raises AtCapacity. Call `save` afterwards.
        """
        if len(self._by_hash) >= self._limit:
            raise AtCapacity("There are too many stream keys; revoke some first.")
        secret = secrets.token_hex(KEY_BYTES)
        key = StreamKey(f"IN_{secrets.token_hex(6)}", room, identity, name, _hash(secret), time.time())
        self._by_hash = {**self._by_hash, key.hash: key}
        if temporary:
            self._temporary.add(key.hash)
        return key, secret

    def restore(self, identifier: str, room: str, identity: str, name: str, created_at: float) -> StreamKey:
        """A temporary record that no key opens, of a camera that an earlier process created."""
        key = StreamKey(identifier, room, identity, name, _hash(secrets.token_hex(KEY_BYTES)), created_at)
        self._by_hash = {**self._by_hash, key.hash: key}
        self._temporary.add(key.hash)
        return key

    def revoke(self, identifier: str, room: str) -> StreamKey:
        """Raises NotFound. Call `save` afterwards."""
        for key in self._by_hash.values():
            if key.id == identifier and key.room == room:
                self._by_hash = {name: one for name, one in self._by_hash.items() if one is not key}
                self._temporary.discard(key.hash)
                return key
        raise NotFound("There is no such stream key.")

    def find(self, secret: str) -> StreamKey | None:
        """The record of a key that an encoder sent; None: it does not exist."""
        wanted = _hash(secret)
        key = self._by_hash.get(wanted)
        return key if key is not None and hmac.compare_digest(key.hash, wanted) else None

    def save(self) -> None:
        """Writes all keys to the file, atomically. Blocks. Raises OSError."""
        if self._path is None:
            return
        with self._saving:
            stored = [asdict(key) for key in self._by_hash.values() if key.hash not in self._temporary]
            private_file.write(self._path, json.dumps({"keys": stored}, indent=1))


class _File(msgspec.Struct):
    keys: list[StreamKey]


def _load(path: Path) -> list[StreamKey]:
    try:
        return msgspec.json.decode(path.read_bytes(), type=_File).keys
    except FileNotFoundError:
        return []
    except OSError as error:
        raise ConfigurationError(f"ingest.keys_file {path} cannot be read: {error.strerror}.") from None
    except msgspec.MsgspecError as error:
        raise ConfigurationError(f"ingest.keys_file {path} is not a file of stream keys: {error}.") from None


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
