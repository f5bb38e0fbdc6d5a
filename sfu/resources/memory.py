"""How full this server's memory is, and what ends it: its container's limit, the machine's end, or what the operator gave it.

At a container's limit the kernel ends processes, at the machine's end any of them: nobody new may come in well before either.
What the kernel would give back without harm (files that were read or written: recordings, above all) does not count as used.
Control groups: Linux, Documentation/admin-guide/cgroup-v2.rst ("memory.current", "memory.stat") and cgroup-v1/memory.rst.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

RESERVE = 0.02
"""Of the machine's memory, which is its kernel's and others': without it the kernel has to look for each page."""
_PAGE = os.sysconf("SC_PAGESIZE")
_FILES = {
    "memory.current": ("memory.max", "inactive_file", "active_file"),
    "memory.usage_in_bytes": ("memory.limit_in_bytes", "total_inactive_file", "total_active_file"),
}
"""By the file with the usage, of version 2 and of version 1: the file with the limit, and lines of `memory.stat`."""


@dataclass(frozen=True, slots=True)
class MemoryUsage:
    """Bytes, and whose end it would be."""

    used: int
    limit: int
    end: str

    @property
    def share(self) -> float:
        """0 to 1."""
        return min(1.0, max(0.0, self.used / self.limit)) if self.limit > 0 else 1.0


def measured(own: int, allowed: int = 0, root: Path = Path("/")) -> MemoryUsage:
    """The fullest of all that limit us. `own`: bytes of this server's processes; `allowed`: what it was given, 0: all."""
    found = [*_machine(root, own)]
    found += _containers(root, found[0].limit if found else 0)
    if allowed:
        found.append(MemoryUsage(own, allowed, "node.memory"))
    return max(found, key=lambda memory: memory.share, default=MemoryUsage(0, 1, "unknown"))


def resident_bytes(root: Path = Path("/")) -> int:
    """Bytes of this process that are in memory; 0 where that cannot be told."""
    try:
        return int((root / "proc/self/statm").read_text().split()[1]) * _PAGE
    except (OSError, ValueError, IndexError):
        return 0


def _machine(root: Path, own: int) -> Iterator[MemoryUsage]:
    """Of what others have left. They may have most of it: that is not our load, and no other server would help."""
    numbers = _numbers(root / "proc/meminfo")
    if {"MemTotal:", "MemAvailable:"} <= numbers.keys():
        total, available = numbers["MemTotal:"] * 1024, numbers["MemAvailable:"] * 1024
        yield MemoryUsage(own, own + max(0, available - int(RESERVE * total)), "the machine")


def _containers(root: Path, most: int) -> Iterator[MemoryUsage]:
    """Of our control group and those above it, which of them have a limit below `most` (0: any)."""
    for folder in _groups(root):
        for usage, (limit, *reclaimed) in _FILES.items():
            used, end = _number(folder / usage), _number(folder / limit)
            # version 1 writes no limit as a number that no machine has
            if used is not None and end is not None and end < (most or 1 << 60):
                statistics = _numbers(folder / "memory.stat")
                yield MemoryUsage(used - sum(statistics.get(name, 0) for name in reclaimed), end, "the container")


def _groups(root: Path) -> Iterator[Path]:
    """Inside a container its own group is mounted as if it were the topmost one, whatever `/proc` calls it."""
    base = root / "sys/fs/cgroup"
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        lines = []
    seen: dict[Path, None] = {}
    for line in lines:
        _, controllers, name = [*line.split(":", 2), "", ""][:3]
        if controllers and "memory" not in controllers.split(","):
            continue
        mount = base / "memory" if controllers else base
        path = PurePosixPath("/" + name.strip("/"))
        for each in (path, *path.parents):
            if ".." not in each.parts:
                seen[mount / str(each).lstrip("/")] = None
    yield from seen or {base: None}


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):  # `max`
        return None


def _numbers(path: Path) -> dict[str, int]:
    """Lines of a word and a number, and perhaps a unit."""
    try:
        rows = [line.split() for line in path.read_text().splitlines()]
    except OSError:
        return {}
    return {row[0]: int(row[1]) for row in rows if len(row) >= 2 and row[1].isdigit()}
