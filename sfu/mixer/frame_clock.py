"""Frame clock of the mix: due time and number of each tick, and phase lock to the participant on stage.

HLS output needs an even clock. Output over RTMP or WebRTC only may be locked: the phase moves, by at most 0.7 ms per
tick and 16 ms in total, until the pictures of the participant on stage are due just before the tick, which reduces
their latency by half a tick on average. Pure; monotonic seconds.
"""

from typing import Final

SLEW: Final = 0.0007
"""Seconds that the phase moves per tick at most."""
REACH: Final = 0.016
"""Seconds that the phase may differ from the even clock."""
TARGET: Final = 0.004
"""Seconds before a tick at which the leading picture should be due. More than `frame_pacer.BEHIND`."""
_GAIN: Final = 0.25


class FrameClock:
    """Owned by the video thread: sleep until `due`, call `begin`, draw, and call `steer` if the clock may be locked."""

    __slots__ = ("_number", "_phase", "_start", "dropped", "period")

    def __init__(self, start: float, fps: int = 30) -> None:
        self.period = 1 / fps
        self.dropped = 0
        self._start = start
        self._number = 0
        self._phase = 0.0

    @property
    def due(self) -> float:
        return self._start + self._number * self.period + self._phase

    def begin(self, now: float) -> int:
        """Starts a tick and returns its number. Ticks missed by more than a period are dropped: the previous picture
        stays longer, and no delay accumulates.
        """
        late = max(0, int((now - self.due) / self.period))
        self.dropped += late
        number = self._number + late
        self._number = number + 1
        return number

    def steer(self, waited: float | None) -> None:
        """`waited`: seconds between the due time of the leading picture and this tick; None: return to the even clock."""
        if waited is None:
            wanted = -self._phase
        else:
            half = self.period / 2
            wanted = -((waited - TARGET + half) % self.period - half)
        step = max(-SLEW, min(SLEW, _GAIN * wanted))
        self._phase = max(-REACH, min(REACH, self._phase + step))
