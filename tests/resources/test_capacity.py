"""Capacity from counters at fixed moments."""

import pytest

from sfu.resources.capacity import Capacity, Usage, available_cores
from sfu.resources.memory import MemoryUsage


def fed(
    capacity: Capacity, *, loop: float = 0.0, process: float = 0.0, out: float = 0.0, seconds: int = 120
) -> Capacity:
    """Observes every 5 s what so many shares of a core and so many bits a second would count."""
    for second in range(0, seconds + 1, 5):
        capacity.observe(Usage(second, loop * second, process * second, 0, int(out * second / 8)))
    return capacity


@pytest.mark.parametrize(
    ("cores", "loop", "process", "out", "used", "reason"),
    [
        (8.0, 0.5, 0.6, 0.0, 0.5, ""),
        (8.0, 0.96, 0.97, 0.0, 0.96, "its processor is 96% used, and joins end at 90%"),
        (2.0, 0.5, 1.9, 0.0, 0.95, "its processor is 95% used, and joins end at 90%"),
        (0.5, 0.4, 0.4, 0.0, 0.8, ""),
        (8.0, 0.1, 0.1, 9.5e8, 0.95, "its network is 95% used, and joins end at 90%"),
        (8.0, 0.1, 0.1, 9.5e9, 1.0, "its network is 100% used, and joins end at 90%"),
    ],
)
def test_the_fullest_counts(cores: float, loop: float, process: float, out: float, used: float, reason: str) -> None:
    capacity = fed(Capacity(limit=0.9, bandwidth=1_000_000_000, cores=cores), loop=loop, process=process, out=out)
    assert capacity.used == pytest.approx(used, abs=0.005)
    assert capacity.refusal == reason


def test_bandwidth_that_nobody_gave_does_not_count() -> None:
    assert fed(Capacity(limit=0.9, bandwidth=0, cores=1.0), out=1e12).used == 0


def test_a_short_burst_closes_no_door_and_a_long_one_does() -> None:
    assert fed(Capacity(limit=0.95, bandwidth=0, cores=1.0), loop=1.0, seconds=10).refusal == ""
    assert fed(Capacity(limit=0.95, bandwidth=0, cores=1.0), loop=1.0, seconds=40).refusal != ""


@pytest.mark.parametrize(
    ("used", "reason"),
    [(0, ""), (899, ""), (900, "its memory is 90% used, and joins end at 90%"), (2000, "its memory is 100% used")],
)
def test_memory_has_its_own_mark_and_counts_at_once(used: int, reason: str) -> None:
    capacity = Capacity(limit=0.95, bandwidth=0, cores=1.0, memory_limit=0.9)
    capacity.update_memory(MemoryUsage(used, 1000, "the container"), 0.1)
    assert capacity.refusal == capacity.memory_refusal
    assert capacity.refusal.startswith(reason)
    assert bool(capacity.refusal) == bool(reason)
    assert capacity.used == max(0.1, min(1.0, used / 1000))
    capacity.update_memory(MemoryUsage(0, 1000, "the container"), 0.1)
    assert capacity.refusal == ""


def test_descriptors_that_run_out() -> None:
    capacity = Capacity(limit=0.95, bandwidth=0, cores=1.0, memory_limit=0.9)
    capacity.update_memory(MemoryUsage(0, 1000, "the container"), 0.92)
    assert capacity.refusal == "its file descriptors are 92% used, and joins end at 90%"
    assert capacity.memory_refusal == ""
    assert capacity.used == 0.92


def test_a_full_processor_is_no_full_memory() -> None:
    capacity = fed(Capacity(limit=0.9, bandwidth=0, cores=1.0, memory_limit=0.9), loop=1.0)
    assert "processor" in capacity.refusal
    assert capacity.memory_refusal == ""


def test_it_opens_again() -> None:
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
