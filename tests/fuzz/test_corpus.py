"""Every input that was ever of interest, under its target; and a short look for new ones."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from sfu.transport.native import load
from tests.fuzz.differential import differences
from tests.fuzz.records import recorded, records
from tests.fuzz.targets import TARGETS

CORPUS = Path(__file__).with_name("corpus")
SECONDS = 1
"""Time limit of each target, which also ends after a thousand inputs. `make fuzz` runs longer."""
KEPT = sorted(CORPUS.glob("*/*"))


@pytest.mark.parametrize("path", KEPT, ids=[str(path.relative_to(CORPUS)) for path in KEPT])
def test_replayed(path: Path) -> None:
    TARGETS[path.parent.name](path.read_bytes())


@pytest.mark.parametrize("name", TARGETS)
def test_every_target_has_seeds_and_takes_nothing_at_all(name: str) -> None:
    assert list((CORPUS / name).iterdir())
    for data in (b"", b"\0", b"\xff" * 400):
        TARGETS[name](data)


def test_records() -> None:
    assert list(records(recorded(b"one", b"", b"two"))) == [b"one", b"", b"two"]
    assert list(records(b"\0\5abc")) == [b"abc"]


@pytest.mark.skipif(importlib.util.find_spec("atheris") is None, reason="atheris is not made for this Python")
def test_nothing_is_found_in_a_short_while() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzz", str(SECONDS)], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stdout
    assert done.stdout.count("nothing found") == len(TARGETS)


@pytest.mark.skipif(load() is None, reason="the native part was not built")
def test_c_and_python_agree() -> None:
    assert differences(2.0) > 100
