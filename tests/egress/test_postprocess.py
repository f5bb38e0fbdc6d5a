"""Postprocessing of recordings in its own process."""

import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize("broken", [False, True])
def test_a_closed_stdout_is_ignored(tmp_path: Path, broken: bool) -> None:
    """No traceback on the terminal when the server has exited; the exit status is unchanged."""
    if broken:
        (tmp_path / "ada.mkv").mkdir()
    reading, writing = os.pipe()
    os.close(reading)
    process = subprocess.run(
        [sys.executable, "-m", "sfu.egress.postprocess", str(tmp_path)],
        input=b"", stdout=writing, stderr=subprocess.PIPE, check=False, timeout=60,
    )  # fmt: skip
    os.close(writing)
    assert process.stderr == b""
    assert process.returncode == int(broken)
