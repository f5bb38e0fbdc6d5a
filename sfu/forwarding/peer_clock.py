"""The clock of one peer relative to ours: its NTP offset, the round trip, and its XR reference times.

RFC 3550 6.4.1 (sender and receiver reports), RFC 3611 4.4 and 4.5 (receiver reference time, DLRR). `now` is monotonic
seconds, `wall` seconds since 1900 (NTP).
"""

from typing import Final

from sfu.rtp import xr

NTP_UNITS: Final = 1 << 32
"""Units of a 64-bit NTP timestamp per second."""
REFERENCES_LIMIT: Final = 4
"""SSRCs whose reference times are kept. A browser uses one SSRC for video and one for audio."""
RTT_LIMIT: Final = 10.0
"""Seconds. A longer round trip is a wrong timestamp."""


class PeerClock:
    """Belongs to one peer."""

    __slots__ = ("_references", "offset", "rtt")

    def __init__(self) -> None:
        self.offset: float | None = None
        """Seconds to add to the peer's NTP clock to get ours: the smallest value seen, from the least delayed report."""
        self.rtt: float | None = None
        """Smoothed round trip, seconds; None before the first measurement."""
        self._references: dict[int, tuple[int, float]] = {}
        """Unanswered receiver reference times by SSRC: (middle 32 bits of the NTP time, time of arrival)."""

    def receive_sender_report(self, ntp: int, wall: float) -> None:
        """Takes the NTP time of a sender report."""
        offset = wall - ntp / NTP_UNITS
        known = self.offset
        if known is None or offset < known or offset > known + 1.0:
            self.offset = offset
        else:
            self.offset = known + (offset - known) * 0.01  # follows a drifting clock slowly

    def receive_round_trip(self, units: int) -> None:
        """Takes one measured round trip in 1/65536 s (modulo 2³²)."""
        rtt = (units & 0xFFFFFFFF) / 65536
        if rtt < RTT_LIMIT:
            self.rtt = rtt if self.rtt is None else self.rtt + (rtt - self.rtt) / 4

    def add_reference(self, ssrc: int, ntp: int, now: float) -> None:
        """Keeps a receiver reference time until the next sender report answers it."""
        if ssrc not in self._references and len(self._references) >= REFERENCES_LIMIT:
            self._references.clear()
        self._references[ssrc] = (ntp >> 16 & 0xFFFFFFFF, now)

    def dlrr_blocks(self, now: float) -> tuple[xr.DlrrBlock, ...]:
        """The answers to all kept reference times."""
        return tuple([
            xr.DlrrBlock(ssrc, time, min(int((now - since) * 65536), 0xFFFFFFFF))
            for ssrc, (time, since) in self._references.items()
        ])  # fmt: skip

    def clear_references(self) -> None:
        """After `dlrr_blocks` were sent."""
        self._references.clear()
