"""Whether a process that gives no sign of life is hung, or only waits for a processor like everybody on a full machine.

Replacing a worker costs more processor time than letting it wait, so one that was kept waiting by the scheduler gets
patience (Linux: `/proc/PID/task/*/schedstat`, nanoseconds run, and waited in the run queue).
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

STARVED: Final = 0.3
"""Share of the time that some thread of a worker waited for a processor, from which on the machine is full."""
PATIENCE: Final = 6
"""How many times the timeout a worker gets at most on such a machine."""
START: Final = 15.0
"""Seconds that a new process has until its first beat."""


def waited(pid: int) -> dict[str, float]:
    """Seconds that each thread of a process waited for a processor so far; empty where the kernel does not tell."""
    found = {}
    for path in Path(f"/proc/{pid}/task").glob("*/schedstat"):
        try:
            found[path.parent.name] = int(path.read_bytes().split()[1]) / 1e9
        except (OSError, ValueError, IndexError):
            continue
    return found


class Vigil:
    """Over one process, from its start. `now`: monotonic seconds."""

    def __init__(
        self, pid: int, timeout: float, now: float, look: Callable[[int], Mapping[str, float]] = waited
    ) -> None:
        self._pid = pid
        self._timeout = timeout
        self._look = look
        self._beaten = False
        self._at = now
        self._waited: Mapping[str, float] = {}

    def beat(self, now: float) -> None:
        self._beaten, self._at = True, now
        self._waited = {}

    def hung(self, now: float) -> bool:
        """To be asked several times within the timeout: what the process waited is counted from the first time."""
        silent = now - self._at
        if not self._beaten:
            return silent > START
        if silent < self._timeout / 3:
            return False
        seen = self._look(self._pid)
        if not self._waited:
            self._waited = seen
        if silent <= self._timeout:
            return False
        longest = max((seen[thread] - self._waited.get(thread, 0.0) for thread in seen), default=0.0)
        return longest < STARVED * (silent - self._timeout / 3) or silent > PATIENCE * self._timeout
