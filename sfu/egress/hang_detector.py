"""Hang detection of a worker process, from outside. A worker that is starting, or that a full machine starves, is not hung.

Replacing a worker costs more processor time than letting it wait. So time that its threads waited for a processor does not
count (Linux: `/proc/PID/task/*/schedstat`, nanoseconds run, and waited in the run queue). Until a worker is ready, it has
`START` seconds of its own time between two beats, because it loads libraries, fonts and encoders.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

MAX_STARVED_SHARE: Final = 0.3
"""Share of the time that some thread of a worker waited for a processor, from which on the machine is full."""
PATIENCE: Final = 20
"""How many times the timeout a worker gets at most on such a machine."""
START: Final = 15.0
"""Seconds without a beat, less those for which it waited for a processor, that a worker has until it is ready."""
MAX_START_TIME: Final = 120.0
"""The same, with those."""


def run_queue_wait(pid: int) -> dict[str, float]:
    """Seconds that each thread of a process waited for a processor so far; empty where the kernel does not tell."""
    found = {}
    for path in Path(f"/proc/{pid}/task").glob("*/schedstat"):
        try:
            found[path.parent.name] = int(path.read_bytes().split()[1]) / 1e9
        except (OSError, ValueError, IndexError):
            continue
    return found


class HangDetector:
    """Over one process, from its start. `now`: monotonic seconds."""

    def __init__(
        self, pid: int, timeout: float, now: float, look: Callable[[int], Mapping[str, float]] = run_queue_wait
    ) -> None:
        self._pid = pid
        self._timeout = timeout
        self._look = look
        self._ready = False
        self._at = now
        self._waited: Mapping[str, float] = {}

    def beat(self, now: float) -> None:
        self._at = now
        self._waited = {} if self._ready else self._look(self._pid)

    def ready(self) -> None:
        """It has begun its work: from now on silence counts. Idempotent."""
        if not self._ready:
            self._ready, self._waited = True, {}

    def hung(self, now: float) -> bool:
        """To be asked several times within the timeout: what the process waited is counted from the first time."""
        silent = now - self._at
        if not self._ready:
            return silent > START and (silent - self._starved(self._look(self._pid)) > START or silent > MAX_START_TIME)
        if silent < self._timeout / 3:
            return False
        seen = self._look(self._pid)
        if not self._waited:
            self._waited = seen
        if silent <= self._timeout:
            return False
        return (
            self._starved(seen) < MAX_STARVED_SHARE * (silent - self._timeout / 3) or silent > PATIENCE * self._timeout
        )

    def _starved(self, seen: Mapping[str, float]) -> float:
        """Seconds that some thread waited since the last look."""
        return max((seen[thread] - self._waited.get(thread, 0.0) for thread in seen), default=0.0)
