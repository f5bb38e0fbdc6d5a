"""The programme's picture clock: when each tick is, which one it is, and how its phase follows the one on stage.

An HLS programme has exact times and an even clock. One that goes out over RTMP or WebRTC only may be locked: the phase is
moved, by no more than 0.7 ms a tick and 16 ms in all, until the pictures of the one on stage are due just before it, which
saves them half a tick. Pure; monotonic seconds.
"""

from typing import Final

SLEW: Final = 0.0007
REACH: Final = 0.016
TARGET: Final = 0.004
"""Seconds before a tick at which the leading picture is due; more than what `sfu.mixer.frame_pacer` calls being behind."""
_GAIN: Final = 0.25


class FrameClock:
    """Owned by the ticking thread: sleep until `due`, then `begin`; after the work maybe `steer`."""

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
        """The number of the tick that is done now. Ticks that are missed by more than a period are dropped: the picture
        before is seen longer, and nothing falls behind.
        """
        late = max(0, int((now - self.due) / self.period))
        self.dropped += late
        number = self._number + late
        self._number = number + 1
        return number

    def steer(self, waited: float | None) -> None:
        """`waited`: how long before this tick the leading picture was due; None: nobody leads, back to the even clock."""
        if waited is None:
            wanted = -self._phase
        else:
            half = self.period / 2
            wanted = -((waited - TARGET + half) % self.period - half)
        step = max(-SLEW, min(SLEW, _GAIN * wanted))
        self._phase = max(-REACH, min(REACH, self._phase + step))
