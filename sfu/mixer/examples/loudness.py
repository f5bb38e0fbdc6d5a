"""Example plug-in: loudness meter of the mix, with momentary (0.4 s), short-term (3 s) and integrated loudness.

K-weighting is applied to the spectrum of blocks of 100 ms, which is exact for their energy and costs one transform per
block. ITU-R BS.1770-5 annex 1, EBU R 128 and Tech 3341.
"""

from collections import deque
from collections.abc import Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sfu.mixer.plugins import MIX, Overlay, Plugin, PluginContext, PluginInputs, Sound

RATE: Final = 48_000
BLOCK: Final = RATE // 10
SILENCE: Final = -70.0
"""Absolute gate in LUFS: quieter blocks do not count. Also the value reported for silence."""
TARGET: Final = -23.0
_MOMENTARY: Final = 4
_SHORT_TERM: Final = 30
_HISTORY: Final = 12 * 3600 * 10
_BAR: Final = 12, 160


def _k_weighting() -> NDArray[np.float64]:
    """Power response of the two filters of BS.1770 (tables 1 and 2) at the frequencies of the transform."""
    z = np.exp(-2j * np.pi * np.arange(BLOCK // 2 + 1) / BLOCK)
    shelf = (1.53512485958697 - 2.69169618940638 * z + 1.19839281085285 * z**2) / (
        1 - 1.69065929318241 * z + 0.73248077421585 * z**2
    )
    high_pass = (1 - 2 * z + z**2) / (1 - 1.99004745483398 * z + 0.99007225036621 * z**2)
    weights: NDArray[np.float64] = np.abs(shelf * high_pass) ** 2
    weights[1:-1] *= 2  # account for the negative frequencies of a real signal
    return weights / BLOCK**2


_WEIGHTS: Final = _k_weighting()


class Loudness(Plugin):
    """Options: `bar` = yes shows a bar at the left edge; `log` = seconds between entries in the event log (0: none)."""

    inputs = PluginInputs(mix_sound=True)

    def __init__(self, options: Mapping[str, str]) -> None:
        self.momentary = self.short_term = self.integrated = SILENCE
        "In LUFS."
        self._bar = options.get("bar", "no") in ("yes", "true", "1")
        self._log_every = float(options.get("log", "0"))
        self._logged = 0.0
        self._context: PluginContext | None = None
        self._held: list[Sound] = []
        self._count = 0
        self._powers: deque[float] = deque(maxlen=_SHORT_TERM)
        self._gated: deque[float] = deque(maxlen=_HISTORY)
        self._drawn = -1

    def start(self, context: PluginContext) -> None:
        self._context = context

    def sound(self, source: str, sound: Sound, at: float) -> Sound | None:
        if source != MIX:
            return None
        self._held.append(sound)
        self._count += len(sound)
        while self._count >= BLOCK:
            joined = np.concatenate(self._held)
            self._held = [joined[BLOCK:]]
            self._count -= BLOCK
            self._measure(joined[:BLOCK])
        if self._log_every and at - self._logged >= self._log_every:
            self._logged = at
            if self._context is not None:
                figures = {"short_term": f"{self.short_term:.1f}", "integrated": f"{self.integrated:.1f}"}
                self._context.note("loudness", f"{self.integrated:.1f} LUFS", **figures)
        return None

    def _measure(self, block: Sound) -> None:
        spectrum = np.abs(np.fft.rfft(block.astype(np.float64), axis=0)) ** 2
        self._powers.append(float((spectrum * _WEIGHTS[:, None]).sum()))
        powers = list(self._powers)
        self.short_term = lufs(float(np.mean(powers)))
        momentary = float(np.mean(powers[-_MOMENTARY:]))
        self.momentary = lufs(momentary)
        if len(powers) >= _MOMENTARY and self.momentary > SILENCE:
            self._gated.append(momentary)
            if len(self._gated) % 10 == 0 or len(self._gated) < 100:
                self.integrated = gated(np.array(self._gated))
        if self._bar:
            self._show()

    def _show(self) -> None:
        width, height = _BAR
        filled = round(min(1.0, max(0.0, (self.short_term + 41) / 36)) * height)
        if filled == self._drawn or self._context is None:
            return
        self._drawn = filled
        rgba = np.empty((height, width, 4), np.uint8)
        rgba[:] = (0, 0, 0, 120)
        colour = (80, 200, 120, 230) if self.short_term <= TARGET + 3 else (230, 90, 70, 230)
        if filled:
            rgba[-filled:, 2:-2] = colour
        self._context.show("bar", Overlay(rgba), 16, 16)


def lufs(power: float) -> float:
    return max(SILENCE, -0.691 + 10 * float(np.log10(power))) if power > 0 else SILENCE


def gated(powers: NDArray[np.float64]) -> float:
    """Integrated loudness with the relative gate: the mean of all blocks at most 10 LU below the mean of `powers`, which
    are above the absolute gate (BS.1770 2.4).
    """
    threshold = float(np.mean(powers)) / 10
    return lufs(float(np.mean(powers[powers > threshold])))
