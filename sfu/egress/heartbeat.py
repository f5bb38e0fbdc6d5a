"""Heartbeat of a worker: a dedicated thread reports to the server that the process is alive, and ends a stalled process.

On a busy machine all threads are late, and replacing a worker would add load. Only heartbeats that were on time, while
no thread waited for a processor, count towards a stall; the working threads have a higher nice value than the heartbeat
thread. A thread has more time for its first step, because it is starting.
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

BEAT_INTERVAL: Final = 0.25
"""Seconds between heartbeats."""
MAX_BEAT_DELAY: Final = 0.1
"""Seconds after which a late heartbeat does not count towards a stall."""
MAX_IDLE_BEATS: Final = 5
"""Heartbeats on time without progress after which the work counts as stalled."""
MAX_IDLE_BEATS_AT_START: Final = 60
"""The same limit for a thread that has not completed its first step."""
MAX_IDLE_BEATS_WHEN_BUSY: Final = 240
"""Heartbeats without progress after which the work counts as stalled on a busy machine too."""

Progress = tuple[int, ...]
"""One counter per thread, which changes while the thread works; 0: not started. Empty: no work to do."""


class StallDetector:
    """Decides from the progress at each heartbeat whether the work is stalled. Pure."""

    def __init__(self) -> None:
        self._seen: Progress = ()
        self._timely_beats: list[int] = []
        self._all_beats: list[int] = []

    def beat(self, progress: Progress, late: float, starved: float = 0.0) -> bool:
        """Whether a thread has made no progress for too long.

        `late`: seconds since this heartbeat was due. `starved`: seconds that a thread waited for a processor since the
        last heartbeat.
        """
        if len(progress) != len(self._seen):
            self._seen, self._timely_beats, self._all_beats = progress, [0] * len(progress), [0] * len(progress)
            return False
        counts = late <= MAX_BEAT_DELAY and starved <= MAX_STARVED_SHARE * BEAT_INTERVAL
        stalled = False
        for index, (before, now) in enumerate(zip(self._seen, progress, strict=True)):
            self._timely_beats[index] = 0 if now != before else self._timely_beats[index] + counts
            self._all_beats[index] = 0 if now != before else self._all_beats[index] + 1
            stalled = (
                stalled
                or self._timely_beats[index] >= (MAX_IDLE_BEATS if now else MAX_IDLE_BEATS_AT_START)
                or self._all_beats[index] >= MAX_IDLE_BEATS_WHEN_BUSY
            )
        self._seen = progress
        return stalled


class Sender(Protocol):
    def send(self, message: ToServer) -> None: ...

    def try_send(self, message: ToServer, timeout: float) -> None: ...


class Heartbeat:
    """Sends `Alive` every `BEAT_INTERVAL` seconds. Call `start` once; the thread runs until the process ends.

    `end` is called when the work is stalled; by default it ends the process.
    """

    def __init__(
        self, control: Sender, progress: Callable[[], Progress], end: Callable[[], None] = lambda: os._exit(1)
    ) -> None:
        self._control = control
        self._progress = progress
        self._end = end
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def _run(self) -> None:
        stall_detector, due, before = StallDetector(), time.monotonic(), run_queue_wait(os.getpid())
        with suppress(OSError):  # the server is gone: the process ends without this thread
            while True:
                seen = run_queue_wait(os.getpid())
                starved = max((seen[thread] - before.get(thread, 0.0) for thread in seen), default=0.0)
                before = seen
                if stall_detector.beat(self._progress(), time.monotonic() - due, starved):
                    log.error("worker stalled")
                    self._control.try_send(Failed(message="The worker stalled."), MAX_BEAT_DELAY)
                    self._end()
                    return
                self._control.send(Alive())
                due = time.monotonic() + BEAT_INTERVAL
                time.sleep(BEAT_INTERVAL)
