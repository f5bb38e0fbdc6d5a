"""How full this machine is: the worst of its CPU and its network, averaged over some seconds, and its memory as it is.

All media of a process pass one thread, so that thread's share of a core is what runs out first; a container may have less
than a core (its quota), which all threads share. Memory has a mark of its own: too little processor makes everybody's media
late, too little memory ends them. Rooms are counted elsewhere: a cap that the operator chose is no load.
"""

import math
from dataclasses import dataclass
from pathlib import Path

from sfu.resources.memory import MemoryUsage

SMOOTHING = 10.0
"""Seconds: one short burst, as of a hundred joins, closes no door."""
DESCRIPTORS_LIMIT = 0.9
"""Used share of the file descriptors at which joins end: a refusal takes one as well, and so do recordings and programmes."""
QUOTA_FILE = Path("/sys/fs/cgroup/cpu.max")
"""`200000 100000`: microseconds of processor time per period, or `max` (Linux, cgroup v2)."""


@dataclass(frozen=True, slots=True)
class Usage:
    """Counters since the start, at one moment."""

    now: float
    "Monotonic seconds."
    loop_cpu: float
    "Seconds of processor time of the event loop's thread."
    process_cpu: float
    "The same of all threads."
    bytes_in: int
    bytes_out: int


class Capacity:
    """`observe` every few seconds, `update_memory` before each newcomer. Shares are 0 to 1 of what there is.

    `cores` is what the container may use; `limit` and `memory_limit` are the shares at which joins end.
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
        """Not averaged: they grow with those who are in, and the kernel does not average either. `descriptors`: share."""
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
        """The same, of the memory alone."""
        if self.memory.share < self._memory_limit:
            return ""
        return f"its memory is {self.memory.share:.0%} used, and joins end at {self._memory_limit:.0%}"

    @property
    def refusal(self) -> str:
        """Why nobody new comes in, in a few words; empty: there is room."""
        if self.memory_refusal:
            return self.memory_refusal
        if self.descriptors >= DESCRIPTORS_LIMIT:
            return f"its file descriptors are {self.descriptors:.0%} used, and joins end at {DESCRIPTORS_LIMIT:.0%}"
        if max(self.cpu, self.network) < self._limit:
            return ""
        what = "processor" if self.cpu >= self.network else "network"
        share = max(self.cpu, self.network)
        return f"its {what} is {share:.0%} used, and joins end at {self._limit:.0%}"


def available_cores(quota: str, machine: int) -> float:
    """Processors that the text of `cpu.max` allows, at most those of the machine."""
    words = quota.split()
    if len(words) == 2 and all(word.isdigit() for word in words) and int(words[1]):
        return max(0.01, min(float(machine), int(words[0]) / int(words[1])))
    return float(machine)
