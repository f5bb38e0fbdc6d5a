"""The expiry time of a PEM file, and files without a certificate."""

import time
from pathlib import Path

import pytest

from sfu.telemetry.certificate import expires_at
from tests.support.certificate import self_signed


def test_the_first_certificate_counts(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    first, key = self_signed(tmp_path, days=3)
    second, _ = self_signed(tmp_path / "other", days=9)
    chain = tmp_path / "chain.pem"
    chain.write_bytes(key.read_bytes() + first.read_bytes() + second.read_bytes())
    assert expires_at(chain) == pytest.approx(time.time() + 3 * 86_400, abs=60)


def test_unusable_files_raise(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="absent"):
        expires_at(tmp_path / "absent.pem")
    empty = tmp_path / "empty.pem"
    empty.write_bytes(b"")
    with pytest.raises(ValueError, match="PEM"):
        expires_at(empty)
