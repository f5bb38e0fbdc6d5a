"""The picture clock of the worker: wakes the decoders, then ticks.

If the tick thread is late by more than a tick, it drops ticks: viewers see one picture for twice the time, and no delay
builds up.
"""

import threading
import time
from collections.abc import Callable
from typing import Protocol

from sfu.mixer.frame_clock import FrameClock


class Decoders(Protocol):
    """The part of `DecoderPool` that the loop needs."""

    @property
    def lead(self) -> float: ...

    def decode_waiting(self) -> None: ...


class VideoLoop:
    """Calls `tick(now, number)` at the times of the clock until `stop`. `run` blocks; it is the tick thread.

    `waited(now)` returns the seconds that the leading picture has waited for the tick, to which the clock is then locked,
    or None for an even clock.
    """

    def __init__(
        self,
        clock: FrameClock,
        decoders: Decoders,
        tick: Callable[[float, int], None],
        waited: Callable[[float], float | None],
        *,
        now: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._clock = clock
        self._decoders = decoders
        self._tick = tick
        self._waited = waited
        self._now = now
        self._sleep = sleep
        self._stopping = threading.Event()
        self.ticks = 0

    @property
    def dropped(self) -> int:
        return self._clock.dropped

    def run(self) -> None:
        clock = self._clock
        while not self._stopping.is_set():
            self._sleep_until(clock.due - self._decoders.lead)
            self._decoders.decode_waiting()
            self._sleep_until(clock.due)
            now = self._now()
            self._tick(now, clock.begin(now))
            self.ticks += 1
            clock.steer(self._waited(now))

    def stop(self) -> None:
        """Ends `run` after the current tick. Any thread."""
        self._stopping.set()

    def _sleep_until(self, at: float) -> None:
        wait = at - self._now()
        if wait > 0:
            self._sleep(wait)
