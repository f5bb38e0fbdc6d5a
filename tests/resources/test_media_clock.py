"""sfu.resources.media_clock: Unix time without steps, equal in a server and its workers."""

import os
import subprocess
import sys
import time

import pytest

from sfu.resources import media_clock


def test_it_is_unix_time() -> None:
    assert media_clock.unix_time() == pytest.approx(time.time(), abs=1.0)
    assert media_clock.ntp_time(time.monotonic()) - media_clock.unix_time() == pytest.approx(
        media_clock.NTP_EPOCH, abs=0.1
    )


def test_a_worker_uses_the_offset_of_its_server() -> None:
    child = subprocess.run(
        [sys.executable, "-c", "from sfu.resources import media_clock; print(media_clock.OFFSET)"],
        env={**os.environ, media_clock.OFFSET_VARIABLE: "1234.5"}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert float(child.stdout) == 1234.5
