"""Voice of a bot: synthetic syllables in frames of 20 ms, and turns that determine which bot speaks.

Bots take turns so that the active speaker changes. They need no coordination, because turns follow from the wall clock.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

RATE: Final = 48_000
FRAME: Final = 960
"""Samples per frame: 20 ms."""
SYLLABLE: Final = 12_000
"""Samples per syllable: 250 ms."""
NOTES: Final = (4, 5, 4, 6, 5, 4, 3, 4)
"""Pitch of each syllable in quarters of the base pitch."""
SILENT: Final = 127
"""Audio level of silence in −dBov (RFC 6464)."""
AMPLITUDE: Final = 6000


@dataclass(frozen=True, slots=True)
class Turn:
    """Turn `index` of `count`, each `seconds` long. Turns repeat."""

    index: int = 0
    count: int = 1
    seconds: float = 6.0

    def speaks(self, at: float) -> bool:
        """`at`: Unix time. The last second of a turn is a pause."""
        turn, within = divmod(at, self.seconds)
        return int(turn) % self.count == self.index and (self.count == 1 or within < self.seconds - 1)


class Voice:
    """Two seconds of speech in a loop. Frame numbers count units of 20 ms since 1970."""

    def __init__(self, pitch: int) -> None:
        """`pitch`: hertz, a multiple of 16, so that every syllable ends with a complete period."""
        if pitch % 16:
            raise ValueError("the pitch must be a multiple of 16 Hz")
        self.pitch = pitch
        samples = np.arange(SYLLABLE) / RATE
        envelope = np.sin(np.pi * np.arange(SYLLABLE) / SYLLABLE) ** 0.7
        words = [
            envelope
            * (np.sin(2 * np.pi * samples * pitch * note / 4) + 0.4 * np.sin(np.pi * samples * pitch * note))
            / 1.4
            for note in NOTES
        ]
        self._frames: NDArray[np.int16] = (AMPLITUDE * np.concatenate(words)).astype(np.int16).reshape(-1, FRAME)
        self._levels = [level(frame) for frame in self._frames]

    def frame(self, number: int) -> NDArray[np.int16]:
        """960 mono samples."""
        samples: NDArray[np.int16] = self._frames[number % len(self._frames)]
        return samples

    def level(self, number: int) -> int:
        """In −dBov."""
        return self._levels[number % len(self._levels)]


def level(samples: NDArray[np.int16]) -> int:
    """Audio level in −dBov: 0 is loudest, 127 is silence (RFC 6464)."""
    power = float(np.mean(np.square(samples.astype(np.float64)))) / (32768.0**2)
    return SILENT if power <= 0 else min(SILENT, max(0, round(-10 * float(np.log10(power)))))


def strongest_pitch(samples: Sequence[int] | NDArray[np.int16], rate: int = RATE) -> float:
    """Strongest frequency in hertz. Identifies the bot that speaks."""
    spectrum = np.abs(np.fft.rfft(np.asarray(samples, dtype=np.float64) * np.hanning(len(samples))))
    return float(np.argmax(spectrum) * rate / len(samples))
