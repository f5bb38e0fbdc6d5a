"""sfu.outputs.disk_writer: whole chunks, and the effect of a slow, full or failing disk."""

import errno
import logging
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from sfu.outputs.disk_writer import QUEUE_LIMIT, DiskWriter


def until(true: Callable[[], object]) -> None:
    deadline = time.monotonic() + 5
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def test_chunks_are_appended_in_order_to_each_file(tmp_path: Path) -> None:
    disk = DiskWriter(tmp_path / "a" / "b", reserve=0)
    for number in range(100):
        disk.append(f"{number % 2}", bytes([number]))
    disk.close()
    disk.close()
    disk.append("0", b"after the end")
    assert (tmp_path / "a" / "b" / "0").read_bytes() == bytes(range(0, 100, 2))
    assert (tmp_path / "a" / "b" / "1").read_bytes() == bytes(range(1, 100, 2))
    assert (disk.snapshot().state, disk.snapshot().size, disk.snapshot().dropped) == ("closed", 100, 0)


def test_an_existing_file_is_continued(tmp_path: Path) -> None:
    for piece in (b"one", b"two"):
        disk = DiskWriter(tmp_path, reserve=0)
        disk.append("f", piece)
        disk.close()
    assert (tmp_path / "f").read_bytes() == b"onetwo"


def test_a_directory_that_cannot_be_created(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=r"[Dd]irectory|exists"):
        DiskWriter(tmp_path / "file")


def test_a_slow_disk_drops_chunks_until_an_independent_one(tmp_path: Path) -> None:
    disk = DiskWriter(tmp_path, reserve=0)
    with disk._condition:  # blocks the writer thread like a slow disk
        disk.append("a", bytes(QUEUE_LIMIT - 10), independent=True)
        disk.append("a", bytes(20), independent=False)
        disk.append("b", b"b", independent=False)
        disk.append("a", b"P", independent=False)
        disk.append("a", b"I", independent=True)
        disk.append("a", b"p", independent=False)
        disk.append("a", bytes(20), vital=True)
    disk.close()
    assert disk.snapshot().dropped == 2
    assert (tmp_path / "a").read_bytes()[-22:] == b"Ip" + bytes(20)
    assert (tmp_path / "b").read_bytes() == b"b"


def test_a_full_disk_is_logged_once_and_writing_resumes(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    disk = DiskWriter(tmp_path, reserve=1 << 60)
    disk.append("a", b"lost")
    disk.append("a", b"lost too")
    disk.append("log", b"small and vital", vital=True)
    until(lambda: disk.snapshot().size)
    assert (disk.snapshot().state, disk.snapshot().error) == ("full", "No space left on device")
    disk._reserve, disk._retry_at = 0, 0.0
    disk.append("a", b"P", independent=False)
    disk.append("a", b"I")
    until(lambda: disk.snapshot().state == "writing")
    disk.close()
    assert (tmp_path / "a").read_bytes() == b"I"
    assert [record.levelname for record in caplog.records] == ["ERROR", "WARNING"]
    assert disk.snapshot().dropped == 3


def test_a_partly_written_chunk_is_truncated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Half:
        """A file on a disk with three free bytes."""

        def __init__(self, path: Path) -> None:
            self._file = path.open("ab", buffering=0)

        def seek(self, offset: int, whence: int) -> int:
            return self._file.seek(offset, whence)

        def write(self, data: bytes) -> int:
            return self._file.write(data[:3])

        def fileno(self) -> int:
            return self._file.fileno()

        def close(self) -> None:
            self._file.close()

    disk = DiskWriter(tmp_path, reserve=0)
    disk._files["a"] = Half(tmp_path / "a")  # type: ignore[assignment]  # a file that fails
    disk.append("a", b"abc")
    disk.append("a", b"defghi")
    until(lambda: disk.snapshot().dropped)
    assert disk.snapshot().state == "full"
    disk.close()
    assert (tmp_path / "a").read_bytes() == b"abc"


def test_a_disk_that_fails_to_sync(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(descriptor: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fdatasync", fails)
    disk = DiskWriter(tmp_path, reserve=0)
    disk.append("a", b"abc")
    disk.close()
    assert disk.snapshot().error == os.strerror(errno.EIO)
