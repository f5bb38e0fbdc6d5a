"""Maps one stream's media time to its sender's wall clock, by sender reports that may be wrong.

A report that contradicts the ones before it by more than `STEP` is not used until reports have agreed on the new mapping
for `DOUBT` seconds. Smaller changes, such as drift, are followed at once. Pure. RFC 3550 6.4.1.
"""

from typing import Final

STEP: Final = 0.030
"""Seconds by which a report contradicts the one before: a clock was set, or the report is wrong."""
DOUBT: Final = 7.0
"""Seconds; longer than a browser's interval between two reports, which the server repeats once a second."""
NTP_UNITS: Final = float(1 << 32)


class SenderClock:
    """Of one stream. Times are seconds."""

    __slots__ = ("_doubted", "reported", "wall")

    def __init__(self) -> None:
        self.wall = 0.0
        "Wall time of media time 0, by the last report that was used."
        self.reported: float | None = None
        "When that report came; None: there was none."
        self._doubted: tuple[float, float] | None = None  # (wall, since when) of reports that are not used yet

    def receive(self, wall: float, now: float, *, believed: bool = False) -> bool:
        """A report's `wall`; False: it is not used. `believed`: what arrives shows the same change."""
        if not believed and self.reported is not None and abs(wall - self.wall) > STEP:
            if self._doubted is None or abs(wall - self._doubted[0]) > STEP:
                self._doubted = wall, now
            if now - self._doubted[1] < DOUBT:
                return False
        self._doubted = None
        self.wall, self.reported = wall, now
        return True

    def reset(self) -> None:
        """Another clock's timestamps follow."""
        self.reported = self._doubted = None


def unwrap(timestamp: int, near: int) -> int:
    """A 32-bit RTP timestamp as the nearest number to the unwrapped `near`."""
    return near + ((timestamp - near + 0x8000_0000) & 0xFFFF_FFFF) - 0x8000_0000
