"""A wall clock for media that never jumps: Unix time as it was known when the server started, gone on evenly since.

When somebody sets a machine's clock, tokens and logs have to follow; a recording must not get an hour of nothing, nor may
the reports by which receivers keep lips in sync. `CLOCK_MONOTONIC` is one for all processes of a machine, so workers
that are given the server's offset agree with it to the microsecond. A server that starts before its machine knows the time
keeps what it took for the time then until it is started again.
"""

import os
import time
from typing import Final

OFFSET_VARIABLE: Final = "AIOSFU_UNIX_OFFSET"
"""Of the environment: what a process's workers are told by."""
OFFSET: Final = float(os.environ.get(OFFSET_VARIABLE) or time.time() - time.monotonic())
"""Seconds from `time.monotonic` to Unix time."""
NTP_EPOCH: Final = 2_208_988_800
"""Seconds between NTP's beginning and Unix's (RFC 868)."""


def unix_time() -> float:
    """Seconds since 1970, evenly."""
    return time.monotonic() + OFFSET


def ntp_time(now: float) -> float:
    """Seconds since 1900 at a monotonic time."""
    return now + (OFFSET + NTP_EPOCH)
