"""Capacity of this server: CPU and network usage as moving averages, and memory and file descriptors as measured.

One thread handles all media of a process, so the usage of that thread's core is usually the limit. A container may have
less than one core (its quota), which all threads share. Memory has a separate limit because the consequences differ:
without CPU time media become late, without memory the process is killed. Limits on the number of rooms are configured
caps rather than load, and are counted elsewhere.
"""

import math
from dataclasses import dataclass
from pathlib import Path

from sfu.resources.memory import MemoryUsage

SMOOTHING = 10.0
"""Time constant of the averages in seconds. A short burst, such as a hundred joins, does not reach the limit."""
DESCRIPTORS_LIMIT = 0.9
"""File descriptor usage at which joins are rejected. A rejection needs a descriptor too, as do recordings and egress."""
QUOTA_FILE = Path("/sys/fs/cgroup/cpu.max")
"""Contains for example `200000 100000`: microseconds of CPU time per period, or `max` (Linux, cgroup v2)."""


@dataclass(frozen=True, slots=True)
class Usage:
    """Counters since the start of the process, read at one time."""

    now: float
    "Monotonic seconds."
    loop_cpu: float
    "CPU seconds of the event loop thread."
    process_cpu: float
    "CPU seconds of all threads."
    bytes_in: int
    bytes_out: int


class Capacity:
    """Call `observe` every few seconds and `update_memory` before each join. Usage is a fraction from 0 to 1.

    `cores`: CPU quota of the container; `bandwidth`: bit/s per direction, 0 for unknown; `limit` and `memory_limit`: usage
    at which joins are rejected.
    """

    def __init__(self, *, limit: float, bandwidth: int, cores: float, memory_limit: float = 1.0) -> None:
        self._limit = limit
        self._memory_limit = memory_limit
        self._bandwidth = bandwidth
        self._cores = cores
        self._last: Usage | None = None
        self.cpu = 0.0
        self.network = 0.0
        self.memory = MemoryUsage(0, 1, "unknown")
        self.descriptors = 0.0

    def update_memory(self, memory: MemoryUsage, descriptors: float) -> None:
        """Memory and descriptors are not averaged, because the kernel enforces their limits at once.

        `descriptors`: used fraction.
        """
        self.memory = memory
        self.descriptors = descriptors

    def observe(self, usage: Usage) -> None:
        last, self._last = self._last, usage
        if last is None or usage.now <= last.now:
            return
        seconds = usage.now - last.now
        weight = 1 - math.exp(-seconds / SMOOTHING)
        loop = (usage.loop_cpu - last.loop_cpu) / seconds / min(1.0, self._cores)
        process = (usage.process_cpu - last.process_cpu) / seconds / self._cores
        self.cpu += (min(1.0, max(loop, process)) - self.cpu) * weight
        if self._bandwidth:
            moved = max(usage.bytes_in - last.bytes_in, usage.bytes_out - last.bytes_out)
            share = moved * 8 / seconds / self._bandwidth
            self.network += (min(1.0, share) - self.network) * weight

    @property
    def used(self) -> float:
        return max(self.cpu, self.network, self.memory.share, self.descriptors)

    @property
    def memory_refusal(self) -> str:
        """Why memory does not allow another participant or egress; empty if it does."""
        if self.memory.share < self._memory_limit:
            return ""
        return f"memory usage is {self.memory.share:.0%}, the limit is {self._memory_limit:.0%}"

    @property
    def refusal(self) -> str:
        """Why joins are rejected; empty if there is capacity."""
        if self.memory_refusal:
            return self.memory_refusal
        if self.descriptors >= DESCRIPTORS_LIMIT:
            return f"file descriptor usage is {self.descriptors:.0%}, the limit is {DESCRIPTORS_LIMIT:.0%}"
        if max(self.cpu, self.network) < self._limit:
            return ""
        resource = "CPU" if self.cpu >= self.network else "network"
        return f"{resource} usage is {max(self.cpu, self.network):.0%}, the limit is {self._limit:.0%}"


def available_cores(quota: str, machine: int) -> float:
    """Cores that the content of `cpu.max` allows, at most those of the machine."""
    words = quota.split()
    if len(words) == 2 and all(word.isdigit() for word in words) and int(words[1]):
        return max(0.01, min(float(machine), int(words[0]) / int(words[1])))
    return float(machine)
