"""Memory usage of this server, and the tightest limit on it: the container, the machine, or the `node.memory` setting.

At the limit of a container the kernel kills processes of that container; if the machine runs out, any process. Joins must
therefore be rejected well before. Memory that the kernel can reclaim (the page cache, mainly of recordings) does not count
as used. Linux Documentation/admin-guide/cgroup-v2.rst ("memory.current", "memory.stat") and cgroup-v1/memory.rst.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

RESERVE = 0.02
"""Fraction of the machine's memory reserved for the kernel and other processes; below it, page reclaim slows everything."""
_PAGE = os.sysconf("SC_PAGESIZE")
_FILES = {
    "memory.current": ("memory.max", "inactive_file", "active_file"),
    "memory.usage_in_bytes": ("memory.limit_in_bytes", "total_inactive_file", "total_active_file"),
}
"""Maps the usage file of cgroup v2 and v1 to the limit file and the reclaimable entries of `memory.stat`."""


@dataclass(frozen=True, slots=True)
class MemoryUsage:
    """Used bytes, the limit, and the source of the limit."""

    used: int
    limit: int
    limited_by: str

    @property
    def share(self) -> float:
        """Used fraction from 0 to 1."""
        return min(1.0, max(0.0, self.used / self.limit)) if self.limit > 0 else 1.0


def measured(own: int, allowed: int = 0, root: Path = Path("/")) -> MemoryUsage:
    """Usage relative to the tightest limit. `own`: bytes of this server's processes; `allowed`: `node.memory`, 0 for none."""
    found = [*_machine(root, own)]
    found += _containers(root, found[0].limit if found else 0)
    if allowed:
        found.append(MemoryUsage(own, allowed, "node.memory"))
    return max(found, key=lambda memory: memory.share, default=MemoryUsage(0, 1, "unknown"))


def resident_bytes(root: Path = Path("/")) -> int:
    """Resident set size of this process in bytes; 0 if unknown."""
    try:
        return int((root / "proc/self/statm").read_text().split()[1]) * _PAGE
    except (OSError, ValueError, IndexError):
        return 0


def _machine(root: Path, own: int) -> Iterator[MemoryUsage]:
    """Usage relative to the memory that other processes leave. Their share does not count as load of this server."""
    numbers = _numbers(root / "proc/meminfo")
    if {"MemTotal:", "MemAvailable:"} <= numbers.keys():
        total, available = numbers["MemTotal:"] * 1024, numbers["MemAvailable:"] * 1024
        yield MemoryUsage(own, own + max(0, available - int(RESERVE * total)), "the machine")


def _containers(root: Path, most: int) -> Iterator[MemoryUsage]:
    """Usage of this process's control group and its ancestors, if their limit is below `most` (0: any limit)."""
    for folder in _groups(root):
        for usage, (limit, *reclaimed) in _FILES.items():
            used, end = _number(folder / usage), _number(folder / limit)
            # cgroup v1 represents "no limit" by a number larger than any machine's memory.
            if used is not None and end is not None and end < (most or 1 << 60):
                statistics = _numbers(folder / "memory.stat")
                yield MemoryUsage(used - sum(statistics.get(name, 0) for name in reclaimed), end, "the container")


def _groups(root: Path) -> Iterator[Path]:
    """Directories of the control group and its ancestors.

    Inside a container its group may be mounted as the root, regardless of the path in `/proc/self/cgroup`.
    """
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
    """Parses lines of a name, a number and an optional unit."""
    try:
        rows = [line.split() for line in path.read_text().splitlines()]
    except OSError:
        return {}
    return {row[0]: int(row[1]) for row in rows if len(row) >= 2 and row[1].isdigit()}
