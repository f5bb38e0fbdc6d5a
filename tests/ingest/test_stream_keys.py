"""sfu.ingest.stream_keys: what is stored, and what is not."""

import stat
from pathlib import Path

import pytest

from sfu.errors import AtCapacity, ConfigurationError, NotFound
from sfu.ingest.stream_keys import StreamKeys


def test_keys_survive_a_restart_as_hashes(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    keys = StreamKeys(path, 10)
    key, secret = keys.create("room", "encoder", "Camera")
    _, temporary = keys.create("demo", "encoder", "Demo", temporary=True)
    keys.save()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert secret not in path.read_text()
    assert list(tmp_path.iterdir()) == [path]
    again = StreamKeys(path, 10)
    assert again.find(secret) == key
    assert again.find(temporary) is None
    assert len(secret) == 32


def test_unknown_and_revoked_keys_open_nothing(tmp_path: Path) -> None:
    keys = StreamKeys(None, 10)
    key, secret = keys.create("room", "encoder", "")
    assert keys.find(secret + "0") is None
    assert keys.find(key.hash) is None
    assert keys.find("") is None
    with pytest.raises(NotFound):
        keys.revoke(key.id, "another")
    keys.revoke(key.id, "room")
    assert keys.find(secret) is None


def test_the_number_of_keys_is_limited() -> None:
    keys = StreamKeys(None, 1)
    keys.create("room", "a", "")
    with pytest.raises(AtCapacity):
        keys.create("room", "b", "")


def test_a_damaged_file_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    path.write_text("{")
    with pytest.raises(ConfigurationError, match="is not a file of stream keys"):
        StreamKeys(path, 1)
