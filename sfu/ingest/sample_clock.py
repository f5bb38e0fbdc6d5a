"""Keeps decoded sound at the times that the encoder stamps on it. Pure.

Opus packets have 960 samples each, so that the position of sound is a count of samples. The encoder's timestamps are
rounded to milliseconds and may drift against its own samples: sound cards run at 48,010 Hz. The clock stretches the sound
by at most 0.5 %, which is not audible, and skips or repeats nothing unless the encoder leaves a gap.
"""

from typing import Final, NamedTuple

RATE: Final = 48_000
MAX_STRETCH: Final = 0.005
GAP: Final = round(0.1 * RATE)
"""Samples of deviation that are a gap or an overlap instead of drift."""
_SMOOTHING: Final = 0.05
_CORRECTION: Final = 0.02
"""Fraction of the smoothed deviation that one frame corrects."""


class Placement(NamedTuple):
    position: int
    "Position of the first sample, in samples at 48 kHz."
    length: int
    "Samples that the frame must have after stretching; 0: drop it."
    gap: bool
    "The position does not follow the previous frame."


class SampleClock:
    def __init__(self) -> None:
        self._next: int | None = None
        self._deviation = 0.0

    def place(self, time: float, samples: int) -> Placement:
        """`time`: media time of the first sample in seconds. `samples`: at 48 kHz."""
        wanted = round(time * RATE)
        if self._next is None:
            return self._begin(wanted, samples, gap=False)
        deviation = wanted - self._next
        if deviation > GAP:
            return self._begin(wanted, samples, gap=True)
        if deviation < -GAP:
            return Placement(self._next, 0, False)
        self._deviation += (deviation - self._deviation) * _SMOOTHING
        limit = int(samples * MAX_STRETCH)
        change = max(-limit, min(limit, round(self._deviation * _CORRECTION)))
        position = self._next
        self._next += samples + change
        return Placement(position, samples + change, False)

    def _begin(self, position: int, samples: int, *, gap: bool) -> Placement:
        self._next, self._deviation = position + samples, 0.0
        return Placement(position, samples, gap)
