"""Limits the work that the RTCP of one peer causes, whatever it says and however many streams the peer has.

RFC 3550 bounds the bandwidth of RTCP and not its meaning: a feedback packet of 32 bytes can speak of 65,535 packets, a
NACK of 1.4 KB of 5,780. Work is counted in units of about one microsecond. Each datagram has a share, so that none holds
the event loop for longer than 2 ms, and each peer has a rate. What exceeds them is not done; honest peers repeat it.
"""

from typing import Final

RATE: Final = 60_000.0
"""Units per second of one peer: 6 % of the event loop. Browsers cause some 5,000, and 50,000 with 25 lossy streams."""
BURST: Final = 30_000.0
SHARE: Final = 1_200.0
"""Units of one datagram."""

DATAGRAM: Final = 20.0
BYTE: Final = 0.12
"""Units to open and parse a datagram, and for each of its bytes."""
REPORT: Final = 6.0
REPORT_BLOCK: Final = 2.0
LOOKUP: Final = 1.5
"""Units to look for a packet that a NACK names,"""
REPAIR: Final = 12.0
"""and to seal and send it again."""
KEYFRAME_REQUEST: Final = 8.0
FEEDBACK: Final = 100.0
STATUS: Final = 0.35
"""Units of one transport-wide feedback, and of each packet that it speaks of."""


class RtcpBudget:
    """Of one peer. `begin` with each datagram, then `spend` before each piece of work."""

    __slots__ = ("_at", "_credit", "_share")

    def __init__(self) -> None:
        self._credit = BURST
        self._at = float("inf")
        """When credit was last given, in monotonic seconds."""
        self._share = 0.0

    def begin(self, size: int, now: float) -> bool:
        """Whether a datagram of `size` bytes may be read."""
        if now > self._at:
            self._credit = min(BURST, self._credit + (now - self._at) * RATE)
        self._at = now
        if self._credit <= 0.0:
            return False
        self._share = SHARE
        self._credit -= DATAGRAM + BYTE * size
        return True

    def spend(self, units: float) -> bool:
        """Whether the datagram may cause so much more work."""
        if units > self._share:
            return False
        self._share -= units
        self._credit -= units
        return True
