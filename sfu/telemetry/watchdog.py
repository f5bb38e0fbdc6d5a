"""Detects a blocked event loop from a thread, and logs where it is blocked.

The loop itself notices a stall only afterwards, and then knows only its duration. The loop sends a heartbeat; when one is
overdue, the watchdog thread logs the stack of the loop's thread, once per stall. The thread sleeps almost all the time,
so it does not slow down the packet path.
"""

import asyncio
import logging
import sys
import threading
import time
import traceback
from types import FrameType
from typing import Final

log = logging.getLogger(__name__)

BEAT: Final = 0.25
"""Seconds between heartbeats."""
PATIENCE: Final = 0.25
"""Seconds by which a heartbeat must be overdue to count as a stall."""
DEPTH: Final = 12
"""Innermost stack frames that are logged."""
LOG_INTERVAL: Final = 10.0
"""Minimum seconds between log records; all stalls are counted."""


class Watchdog:
    """Call `start` and `close` in the loop. `_beat` runs in the loop and `_watch` in the thread; they share only numbers."""

    def __init__(self, *, beat: float = BEAT, patience: float = PATIENCE) -> None:
        self.stalls = 0
        self._beat_every, self._patience = beat, patience
        self._beaten_at = 0.0
        self._thread_id = 0
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        self._thread_id = threading.get_ident()
        self._beat(asyncio.get_running_loop())
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Idempotent."""
        self._stop.set()
        if self._timer is not None:
            self._timer.cancel()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _beat(self, loop: asyncio.AbstractEventLoop) -> None:
        self._beaten_at = time.monotonic()
        self._timer = loop.call_later(self._beat_every, self._beat, loop)

    def _watch(self) -> None:
        reported, logged_at = 0.0, float("-inf")
        while not self._stop.wait(self._patience):
            beaten_at, now = self._beaten_at, time.monotonic()
            if now - beaten_at < self._beat_every + self._patience or beaten_at == reported:
                continue
            reported = beaten_at
            self.stalls += 1
            if now - logged_at < LOG_INTERVAL:
                continue
            logged_at = now
            frame = sys._current_frames().get(self._thread_id)
            log.warning("event loop is blocked", extra={"seconds": round(now - beaten_at, 2), "where": _where(frame)})


def _where(frame: FrameType | None) -> list[str]:
    """Lines of `file:line function`, innermost last. Contains no values, which could be private."""
    stack = traceback.extract_stack(frame)[-DEPTH:] if frame is not None else []
    return [f"{entry.filename}:{entry.lineno} {entry.name}" for entry in stack]
