"""The packet log's file: to a size, and quietly."""

import logging
from pathlib import Path

import pytest

from sfu.errors import ConfigurationError
from sfu.transport.packet_log_file import PacketLogFile


def test_ends_at_its_size(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "log"
    file = PacketLogFile(str(path), 25)
    with caplog.at_level(logging.WARNING):
        for number in range(9):
            file.write(f"row {number}")
    file.close()
    assert path.read_text() == "row 0\nrow 1\nrow 2\nrow 3\n"
    assert [record.message for record in caplog.records] == ["packet log has reached rtc.packet_log_bytes and ends"]


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="packet_log"):
        PacketLogFile(str(tmp_path / "nowhere" / "log"), 100)
    full = PacketLogFile("/dev/full", 1 << 30)
    full.write("x" * (2 << 20))  # no error reaches the media
    full.close()
