"""Wall clock for media that never steps: Unix time at the start of the server, advanced by the monotonic clock.

When the system clock is set, tokens and logs must follow it. Recordings must not get a gap, and the sender reports that
receivers use for lip sync must not step. `CLOCK_MONOTONIC` is the same for all processes of a machine, so workers that
receive the server's offset agree with it to the microsecond. If a server starts before its system clock is set, its
media clock stays wrong until it restarts.
"""

import os
import time
from typing import Final

OFFSET_VARIABLE: Final = "AIOSFU_UNIX_OFFSET"
"""Environment variable that passes the offset to worker processes."""
OFFSET: Final = float(os.environ.get(OFFSET_VARIABLE) or time.time() - time.monotonic())
"""Seconds from `time.monotonic` to Unix time."""
NTP_EPOCH: Final = 2_208_988_800
"""Seconds between the NTP and Unix epochs (RFC 868)."""


def unix_time() -> float:
    """Unix time in seconds, without steps."""
    return time.monotonic() + OFFSET


def ntp_time(now: float) -> float:
    """NTP time (seconds since 1900) at monotonic time `now`."""
    return now + (OFFSET + NTP_EPOCH)
