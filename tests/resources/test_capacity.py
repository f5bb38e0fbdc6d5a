"""sfu.resources.capacity: usage from counters at fixed times."""

import pytest

from sfu.resources.capacity import Capacity, Usage, available_cores
from sfu.resources.memory import MemoryUsage


def fed(
    capacity: Capacity, *, loop: float = 0.0, process: float = 0.0, out: float = 0.0, seconds: int = 120
) -> Capacity:
    """Observes counters every 5 s, for the given core usage and bit rate."""
    for second in range(0, seconds + 1, 5):
        capacity.observe(Usage(second, loop * second, process * second, 0, int(out * second / 8)))
    return capacity


@pytest.mark.parametrize(
    ("cores", "loop", "process", "out", "used", "reason"),
    [
        (8.0, 0.5, 0.6, 0.0, 0.5, ""),
        (8.0, 0.96, 0.97, 0.0, 0.96, "CPU usage is 96%, the limit is 90%"),
        (2.0, 0.5, 1.9, 0.0, 0.95, "CPU usage is 95%, the limit is 90%"),
        (0.5, 0.4, 0.4, 0.0, 0.8, ""),
        (8.0, 0.1, 0.1, 9.5e8, 0.95, "network usage is 95%, the limit is 90%"),
        (8.0, 0.1, 0.1, 9.5e9, 1.0, "network usage is 100%, the limit is 90%"),
    ],
)
def test_the_fullest_resource_counts(
    cores: float, loop: float, process: float, out: float, used: float, reason: str
) -> None:
    capacity = fed(Capacity(limit=0.9, bandwidth=1_000_000_000, cores=cores), loop=loop, process=process, out=out)
    assert capacity.used == pytest.approx(used, abs=0.005)
    assert capacity.refusal == reason


def test_unknown_bandwidth_does_not_count() -> None:
    assert fed(Capacity(limit=0.9, bandwidth=0, cores=1.0), out=1e12).used == 0


def test_a_long_burst_rejects_joins_and_a_short_one_does_not() -> None:
    assert fed(Capacity(limit=0.95, bandwidth=0, cores=1.0), loop=1.0, seconds=10).refusal == ""
    assert fed(Capacity(limit=0.95, bandwidth=0, cores=1.0), loop=1.0, seconds=40).refusal != ""


@pytest.mark.parametrize(
    ("used", "reason"),
    [(0, ""), (899, ""), (900, "memory usage is 90%, the limit is 90%"), (2000, "memory usage is 100%")],
)
def test_memory_has_its_own_limit_and_counts_at_once(used: int, reason: str) -> None:
    capacity = Capacity(limit=0.95, bandwidth=0, cores=1.0, memory_limit=0.9)
    capacity.update_memory(MemoryUsage(used, 1000, "the container"), 0.1)
    assert capacity.refusal == capacity.memory_refusal
    assert capacity.refusal.startswith(reason)
    assert bool(capacity.refusal) == bool(reason)
    assert capacity.used == max(0.1, min(1.0, used / 1000))
    capacity.update_memory(MemoryUsage(0, 1000, "the container"), 0.1)
    assert capacity.refusal == ""


def test_file_descriptors_run_out() -> None:
    capacity = Capacity(limit=0.95, bandwidth=0, cores=1.0, memory_limit=0.9)
    capacity.update_memory(MemoryUsage(0, 1000, "the container"), 0.92)
    assert capacity.refusal == "file descriptor usage is 92%, the limit is 90%"
    assert capacity.memory_refusal == ""
    assert capacity.used == 0.92


def test_cpu_usage_does_not_count_as_memory() -> None:
    capacity = fed(Capacity(limit=0.9, bandwidth=0, cores=1.0, memory_limit=0.9), loop=1.0)
    assert "CPU" in capacity.refusal
    assert capacity.memory_refusal == ""


def test_joins_are_accepted_again_after_the_load() -> None:
    capacity = Capacity(limit=0.95, bandwidth=0, cores=1.0)
    fed(capacity, loop=1.0)
    capacity.observe(Usage(125.0, 120.0, 0.0, 0, 0))
    assert capacity.refusal == ""


@pytest.mark.parametrize(
    ("quota", "cores"),
    [
        ("max 100000", 4.0),
        ("200000 100000", 2.0),
        ("50000 100000\n", 0.5),
        ("900000 100000", 4.0),
        ("", 4.0),
        ("1 0", 4.0),
    ],
)
def test_cores_of_a_container(quota: str, cores: float) -> None:
    assert available_cores(quota, 4) == cores
