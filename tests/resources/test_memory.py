"""sfu.resources.memory: usage from fake /proc and cgroup file trees, and of this process."""

from pathlib import Path

import pytest

from sfu.resources.memory import MemoryUsage, measured, resident_bytes

MACHINE = {"proc/meminfo": "MemTotal:  1000 kB\nMemFree:  10 kB\nMemAvailable:  520 kB\nHugePages_Total:  0\n"}
"""20 kB of it are the reserve."""
UNLIMITED_V1 = "9223372036854771712\n"
NEW = "sys/fs/cgroup"
OLD = "sys/fs/cgroup/memory"


def v2(folder: str, limit: str, current: int, inactive: int = 0, active: int = 0) -> dict[str, str]:
    return {
        f"{folder}/memory.max": f"{limit}\n",
        f"{folder}/memory.current": f"{current}\n",
        f"{folder}/memory.stat": f"anon 5\ninactive_file {inactive}\nactive_file {active}\nslab 3\n",
    }


def v1(folder: str, limit: str, current: int, inactive: int = 0) -> dict[str, str]:
    return {
        f"{folder}/memory.limit_in_bytes": f"{limit}\n",
        f"{folder}/memory.usage_in_bytes": f"{current}\n",
        f"{folder}/memory.stat": f"inactive_file 1\ntotal_inactive_file {inactive}\ntotal_active_file 0\n",
    }


@pytest.mark.parametrize(
    ("files", "own", "allowed", "expected"),
    [
        pytest.param({}, 5, 0, MemoryUsage(0, 1, "unknown"), id="not Linux"),
        pytest.param({}, 5, 10, MemoryUsage(5, 10, "node.memory"), id="node.memory only"),
        pytest.param(MACHINE, 12_000, 0, MemoryUsage(12_000, 12_000 + 512_000, "the machine"), id="no limit but the machine"),
        pytest.param(MACHINE, 12_000, 13_000, MemoryUsage(12_000, 13_000, "node.memory"), id="node.memory below the machine"),
        pytest.param(
            {"proc/meminfo": "MemTotal: 1000 kB\nMemAvailable: 5 kB\n"}, 7, 0, MemoryUsage(7, 7, "the machine"), id="none left"
        ),
        pytest.param(
            MACHINE | {"proc/self/cgroup": "0::/\n"} | v2(NEW, "100000", 90_000, 20_000, 10_000),
            12_000, 0, MemoryUsage(60_000, 100_000, "the container"), id="container, version 2: files are not used memory",
        ),
        pytest.param(
            MACHINE | {"proc/self/cgroup": "0::/\n"} | v2(NEW, "max", 90_000),
            12_000, 0, MemoryUsage(12_000, 524_000, "the machine"), id="container without a limit",
        ),
        pytest.param(
            MACHINE | {"proc/self/cgroup": "0::/a.slice/b.service\n"}
            | v2(f"{NEW}/a.slice", "50000", 45_000) | v2(f"{NEW}/a.slice/b.service", "100000", 40_000),
            12_000, 0, MemoryUsage(45_000, 50_000, "the container"), id="the slice above is fuller",
        ),
        pytest.param(
            MACHINE | {"proc/self/cgroup": "4:memory:/docker/1\n3:cpu:/docker/1\n0::/\n"}
            | v1(OLD, "100000", 90_000, 30_000),
            12_000, 0, MemoryUsage(60_000, 100_000, "the container"), id="version 1, the host's name, mounted at the top",
        ),
        pytest.param(
            MACHINE | {"proc/self/cgroup": "4:memory:/x\n"} | v1(f"{OLD}/x", UNLIMITED_V1, 400_000),
            12_000, 0, MemoryUsage(12_000, 524_000, "the machine"), id="version 1 without a limit",
        ),
        pytest.param(
            MACHINE | {"proc/self/cgroup": "0::/../../other\n"} | v2(NEW, "100000", 60_000),
            12_000, 0, MemoryUsage(60_000, 100_000, "the container"), id="a path outside the hierarchy",
        ),
        pytest.param(
            {"proc/self/cgroup": "garbage\n\n:\n0::/\n", "proc/meminfo": "MemTotal: many\n"}
            | v2(NEW, "100000", 60_000) | {f"{NEW}/memory.stat": "?"},
            12_000, 0, MemoryUsage(60_000, 100_000, "the container"), id="unparsable files",
        ),
    ],
)  # fmt: skip
def test_the_tightest_limit_counts(
    tmp_path: Path, files: dict[str, str], own: int, allowed: int, expected: MemoryUsage
) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert measured(own, allowed, tmp_path) == expected


@pytest.mark.parametrize(
    ("used", "limit", "share"), [(0, 10, 0.0), (5, 10, 0.5), (20, 10, 1.0), (-3, 10, 0.0), (0, 0, 1.0)]
)
def test_share(used: int, limit: int, share: float) -> None:
    assert MemoryUsage(used, limit, "").share == share


def test_this_process(tmp_path: Path) -> None:
    assert 5_000_000 < resident_bytes() < 5_000_000_000
    assert resident_bytes(tmp_path) == 0
    assert 0 < measured(resident_bytes()).share <= 1
