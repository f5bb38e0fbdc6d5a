"""Detects that a worker process hangs, from outside the process.

A worker that is starting, or that gets no processor time on a busy machine, does not hang: replacing it would cost more
processor time than waiting. Time that its threads waited in the run queue therefore does not count (Linux:
`/proc/PID/task/*/schedstat`: nanoseconds run, nanoseconds waited). Until a worker is ready, it has `START_TIMEOUT`
seconds between two heartbeats, because it loads libraries, fonts and encoders.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

MAX_STARVED_SHARE: Final = 0.3
"""The machine counts as busy if a thread of the worker waited for a processor for this share of the time."""
MAX_TIMEOUT_FACTOR: Final = 20
"""Maximum silence on a busy machine, as a multiple of the timeout."""
START_TIMEOUT: Final = 15.0
"""Maximum silence in seconds, without run-queue waits, before the worker is ready."""
MAX_START_TIME: Final = 120.0
"""Maximum silence in seconds, including run-queue waits, before the worker is ready."""


def run_queue_wait(pid: int) -> dict[str, float]:
    """Seconds that each thread of a process has waited in the run queue. Empty if the kernel does not report them."""
    found = {}
    for path in Path(f"/proc/{pid}/task").glob("*/schedstat"):
        try:
            found[path.parent.name] = int(path.read_bytes().split()[1]) / 1e9
        except (OSError, ValueError, IndexError):
            continue
    return found


class HangDetector:
    """Watches one process from its start. `now`: monotonic seconds."""

    def __init__(
        self, pid: int, timeout: float, now: float, read_waits: Callable[[int], Mapping[str, float]] = run_queue_wait
    ) -> None:
        self._pid = pid
        self._timeout = timeout
        self._read_waits = read_waits
        self._ready = False
        self._at = now
        self._waited: Mapping[str, float] = {}

    def beat(self, now: float) -> None:
        self._at = now
        self._waited = {} if self._ready else self._read_waits(self._pid)

    def ready(self) -> None:
        """The worker is ready: the normal timeout applies from now on. Idempotent."""
        if not self._ready:
            self._ready, self._waited = True, {}

    def hung(self, now: float) -> bool:
        """Whether the worker hangs. Call it several times per timeout: run-queue waits are measured from the first call."""
        silent = now - self._at
        if not self._ready:
            return silent > START_TIMEOUT and (
                silent - self._starved(self._read_waits(self._pid)) > START_TIMEOUT or silent > MAX_START_TIME
            )
        if silent < self._timeout / 3:
            return False
        seen = self._read_waits(self._pid)
        if not self._waited:
            self._waited = seen
        if silent <= self._timeout:
            return False
        return (
            self._starved(seen) < MAX_STARVED_SHARE * (silent - self._timeout / 3)
            or silent > MAX_TIMEOUT_FACTOR * self._timeout
        )

    def _starved(self, seen: Mapping[str, float]) -> float:
        """Longest time, in seconds, that a thread has waited in the run queue since the last measurement."""
        return max((seen[thread] - self._waited.get(thread, 0.0) for thread in seen), default=0.0)
