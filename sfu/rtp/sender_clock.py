"""Maps the media time of one stream to its sender's wall clock, robust against wrong sender reports.

A report that contradicts earlier ones by more than `STEP` is ignored until reports have agreed on the new mapping for
`CONFIRMATION_TIME` seconds. Smaller changes, such as drift, apply at once. Pure. RFC 3550 6.4.1.
"""

from typing import Final

STEP: Final = 0.030
"""Deviation in seconds that indicates a clock adjustment or a wrong report."""
CONFIRMATION_TIME: Final = 7.0
"""Seconds. Longer than a browser's report interval, because the server repeats the last report once a second."""
NTP_UNITS: Final = float(1 << 32)


class SenderClock:
    """Clock mapping of one stream. Times are seconds."""

    __slots__ = ("_unconfirmed", "reported", "wall")

    def __init__(self) -> None:
        self.wall = 0.0
        "Wall-clock time of media time 0, from the last accepted report."
        self.reported: float | None = None
        "Arrival of the last accepted report. None: no report yet."
        self._unconfirmed: tuple[float, float] | None = None  # (wall, since when) of reports that are not yet accepted

    def receive(self, wall: float, now: float, *, believed: bool = False) -> bool:
        """Takes the `wall` of a report and returns whether it was accepted. `believed`: packet arrivals confirm the change."""
        if not believed and self.reported is not None and abs(wall - self.wall) > STEP:
            if self._unconfirmed is None or abs(wall - self._unconfirmed[0]) > STEP:
                self._unconfirmed = wall, now
            if now - self._unconfirmed[1] < CONFIRMATION_TIME:
                return False
        self._unconfirmed = None
        self.wall, self.reported = wall, now
        return True

    def reset(self) -> None:
        """Call when the timestamps of another clock follow."""
        self.reported = self._unconfirmed = None


def unwrap(timestamp: int, near: int) -> int:
    """Unwraps a 32-bit RTP timestamp to the value nearest to the unwrapped `near`."""
    return near + ((timestamp - near + 0x8000_0000) & 0xFFFF_FFFF) - 0x8000_0000
