"""Look-ahead limiter in blocks of 5 ms: keeps the sum of many voices below full scale.

The gain is linear within each block and low enough before a block begins, so no sample exceeds the ceiling and the gain
has no steps. Without peaks the input is copied. After Giannoulis, Massberg and Reiss, JAES 60(6), 2012.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

Sound = NDArray[np.float32]

BLOCK: Final = 240
"""Look-ahead, and therefore output delay, in samples: 5 ms at 48 kHz."""
CEILING: Final = 0.891
"""−1 dBFS: headroom for overshoot of the AAC encoder."""
RELEASE: Final = 0.02
"""Maximum gain increase per block: from half to full in 125 ms."""


class Limiter:
    """Takes and returns float stereo of equal length; the output is delayed by `BLOCK` samples."""

    def __init__(self) -> None:
        self.gain = 1.0
        self._held: Sound = np.zeros((BLOCK, 2), np.float32)
        self._ceiling_of_held = 1.0

    def process(self, sound: Sound) -> Sound:
        """The length of `sound` is a multiple of `BLOCK` samples."""
        blocks = len(sound) // BLOCK
        peaks = np.abs(sound.reshape(blocks, -1)).max(axis=1)
        needed = [float(CEILING / peak) if peak > CEILING else 1.0 for peak in peaks]
        out = np.concatenate((self._held, sound[:-BLOCK]))
        self._held = sound[-BLOCK:].copy()
        if self.gain == 1.0 and self._ceiling_of_held == 1.0 and min(needed) == 1.0:
            return out
        gains = [self.gain]
        current = self._ceiling_of_held
        for following in needed:
            gains.append(min(current, following, gains[-1] + RELEASE))
            current = following
        knots = np.arange(blocks + 1) * BLOCK
        out *= np.interp(np.arange(len(out)), knots, gains).astype(np.float32)[:, None]
        self.gain, self._ceiling_of_held = gains[-1], current
        return out
