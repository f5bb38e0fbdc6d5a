"""A worker's heartbeat: a thread that does nothing else tells the server that the process lives, and ends it when its work
stands still.

A machine that is busy makes threads late, and a worker that was replaced for that would only make it busier. So the work
counts as hung by beats that came in time while no thread waited for a processor: the working threads are nicer than the one
that beats. A thread whose first step is still to come has more time: it is starting.
"""

import logging
import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final, Protocol

from sfu.egress.hang_detector import MAX_STARVED_SHARE, run_queue_wait
from sfu.egress.protocol import Alive, Failed, ToServer

log = logging.getLogger(__name__)

EVERY: Final = 0.25
"""Seconds between beats."""
LATE: Final = 0.1
"""Seconds after which a beat does not count."""
STILL: Final = 5
"""Beats in time without any progress after which the work hangs."""
START: Final = 60
"""The same, for a thread that has not made its first step."""
PATIENCE: Final = 240
"""Beats without any progress after which the work hangs, however busy the machine is."""

Progress = tuple[int, ...]
"""One number per thread, each of which changes while its thread works; 0: it has not begun. Empty: there is nothing to do."""


class StallDetector:
    """Pure: whether work stands still, from what is seen of it at each beat."""

    def __init__(self) -> None:
        self._seen: Progress = ()
        self._beats: list[int] = []
        self._all: list[int] = []

    def beat(self, progress: Progress, late: float, starved: float = 0.0) -> bool:
        """Whether some thread made no progress for too long. `late`: seconds since this beat was due; `starved`: for which
        some thread waited for a processor since the last one.
        """
        if len(progress) != len(self._seen):
            self._seen, self._beats, self._all = progress, [0] * len(progress), [0] * len(progress)
            return False
        counts = late <= LATE and starved <= MAX_STARVED_SHARE * EVERY
        still = False
        for place, (before, now) in enumerate(zip(self._seen, progress, strict=True)):
            self._beats[place] = 0 if now != before else self._beats[place] + counts
            self._all[place] = 0 if now != before else self._all[place] + 1
            still = still or self._beats[place] >= (STILL if now else START) or self._all[place] >= PATIENCE
        self._seen = progress
        return still


class Sender(Protocol):
    def send(self, message: ToServer) -> None: ...

    def try_send(self, message: ToServer, timeout: float) -> None: ...


class Heartbeat:
    """`start` once; the thread ends with the process. `end`: called when the work hangs, as a rule the process's end."""

    def __init__(
        self, control: Sender, progress: Callable[[], Progress], end: Callable[[], None] = lambda: os._exit(1)
    ) -> None:
        self._control = control
        self._progress = progress
        self._end = end
        self._thread = threading.Thread(target=self._run, name="pulse", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def _run(self) -> None:
        stall_detector, due, before = StallDetector(), time.monotonic(), run_queue_wait(os.getpid())
        with suppress(OSError):  # the server is gone, and the process ends by itself
            while True:
                seen = run_queue_wait(os.getpid())
                starved = max((seen[thread] - before.get(thread, 0.0) for thread in seen), default=0.0)
                before = seen
                if stall_detector.beat(self._progress(), time.monotonic() - due, starved):
                    log.error("worker stalled")
                    self._control.try_send(Failed(message="The worker's work stood still."), LATE)
                    self._end()
                    return
                self._control.send(Alive())
                due = time.monotonic() + EVERY
                time.sleep(EVERY)
