"""Limits the work that RTCP of one peer causes, for any content and any number of streams.

RFC 3550 limits the bandwidth of RTCP, but not its effect: a feedback packet of 32 bytes can cover 65,535 packets, a NACK
packet of 1.4 KB can request 5,780. Work is counted in units of about one microsecond. Each datagram has a limit, so that
none blocks the event loop for more than 2 ms, and each peer has a rate. Work beyond them is skipped; honest peers repeat
their requests.
"""

from typing import Final

RATE: Final = 60_000.0
"""Units per second of one peer: 6 % of the event loop. Browsers cause about 5,000, and 50,000 with 25 lossy streams."""
BURST: Final = 30_000.0
NODE_RATE: Final = 400_000.0
NODE_BURST: Final = 200_000.0
"""The same for another node of the cluster, which reports about the streams of many participants."""
SHARE: Final = 1_200.0
"""Units that one datagram may cause."""

DATAGRAM: Final = 20.0
BYTE: Final = 0.12
"""Units to decrypt and parse a datagram, and per byte."""
REPORT: Final = 6.0
REPORT_BLOCK: Final = 2.0
LOOKUP: Final = 1.5
"""Units to find a packet that a NACK requests."""
REPAIR: Final = 12.0
"""Units to encrypt and send it again."""
KEYFRAME_REQUEST: Final = 8.0
FEEDBACK: Final = 100.0
STATUS: Final = 0.35
"""Units per transport-wide feedback packet, and per packet that it covers."""


class RtcpBudget:
    """Budget of one peer. Call `begin` for each datagram, then `spend` before each piece of work."""

    __slots__ = ("_at", "_burst", "_credit", "_rate", "_share")

    def __init__(self, rate: float = RATE, burst: float = BURST) -> None:
        self._rate, self._burst = rate, burst
        self._credit = burst
        self._at = float("inf")
        """Time of the last refill, monotonic seconds."""
        self._share = 0.0

    def begin(self, size: int, now: float) -> bool:
        """Whether a datagram of `size` bytes may be parsed."""
        if now > self._at:
            self._credit = min(self._burst, self._credit + (now - self._at) * self._rate)
        self._at = now
        if self._credit <= 0.0:
            return False
        self._share = SHARE
        self._credit -= DATAGRAM + BYTE * size
        return True

    def spend(self, units: float) -> bool:
        """Whether the datagram may cause this much more work."""
        if units > self._share:
            return False
        self._share -= units
        self._credit -= units
        return True
