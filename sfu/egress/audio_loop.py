"""The sound clock of the worker: mixes blocks of 20 ms."""

import threading
import time
from collections.abc import Callable
from typing import Final

from sfu.mixer.audio_mixer import LATENCY, MARGIN, RATE, TICK, AudioMixer
from sfu.mixer.audio_source import Sound
from sfu.mixer.plugins import MIX, PluginHost

BLOCK_SECONDS: Final = TICK / RATE


class AudioLoop:
    """Passes the mix to `output(samples, pts)` until `stop`; `pts` counts samples. `run` blocks; it is the sound thread.

    `start`: monotonic time of mix time 0. Plug-ins are offered the sound of each source and of the mix.
    """

    def __init__(
        self,
        mixer: AudioMixer,
        start: float,
        output: Callable[[Sound, int], None],
        plugins: PluginHost | None = None,
        *,
        now: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._mixer = mixer
        self._start = start
        self._output = output
        self._plugins = plugins
        self._now = now
        self._sleep = sleep
        self._stopping = threading.Event()
        self.blocks = 0
        if plugins is not None:
            mixer.on_source = lambda source, sound: plugins.offer_sound(source, sound, self._at)

    def run(self) -> None:
        while not self._stopping.is_set():
            wait = self._due + BLOCK_SECONDS + MARGIN - self._now()
            if wait > 0:
                self._sleep(wait)
            self._mix()

    def stop(self) -> None:
        """Ends `run` after the current block. Any thread."""
        self._stopping.set()

    @property
    def _at(self) -> float:
        """Mix time of the current block."""
        return self.blocks * BLOCK_SECONDS

    @property
    def _due(self) -> float:
        return self._start + self.blocks * BLOCK_SECONDS

    def _mix(self) -> None:
        samples = self._mixer.tick(self._due)
        if self._plugins is not None:
            self._plugins.offer_sound(MIX, samples, self._at)
        pts = self.blocks * TICK - LATENCY
        if pts < 0:
            samples, pts = samples[-pts:], 0
        self._output(samples, pts)
        self.blocks += 1
