"""When silence means that a process hangs."""

import os

import pytest

from sfu.egress.hang_detector import START, START_LIMIT, Vigil, waited

TIMEOUT = 1.5


@pytest.mark.parametrize(
    ("waits", "hung_from"),
    [
        pytest.param(0.0, 1.6, id="stopped"),
        pytest.param(0.2, 1.6, id="runs, and says nothing"),
        pytest.param(0.9, 30.2, id="waits for a processor"),
    ],
)
def test_silence(waits: float, hung_from: float) -> None:
    now = 0.0
    vigil = Vigil(1, TIMEOUT, now, lambda pid: {"1": 0.0, "2": waits * now})
    vigil.beat(now)
    vigil.ready()
    while now < 40:
        now += 0.2
        if vigil.hung(now):
            break
    assert now == pytest.approx(hung_from)


def test_beats_and_the_start() -> None:
    vigil = Vigil(1, TIMEOUT, 100.0, lambda pid: {})
    assert not vigil.hung(100.0 + START)
    assert vigil.hung(100.1 + START)
    vigil.beat(150.0)
    assert not vigil.hung(150.0 + START), "it has to load its encoders"
    assert vigil.hung(150.1 + START)
    vigil.ready()
    for second in range(20):
        vigil.beat(200.0 + second)
        assert not vigil.hung(201.0 + second)


@pytest.mark.parametrize(
    ("share", "beats", "hung_from"), [(0.5, 0, 30.0), (0.9, 0, START_LIMIT), (0.9, 40, START_LIMIT + 40)]
)
def test_a_start_on_a_full_machine_is_no_hang(share: float, beats: int, hung_from: float) -> None:
    """Only the time counts in which it did not wait for a processor."""
    now = 0.0
    vigil = Vigil(1, TIMEOUT, now, lambda pid: {"1": share * now})
    while now < 300 and not vigil.hung(now):
        now += 0.5
        if now <= beats:
            vigil.beat(now)
    assert now == pytest.approx(hung_from, abs=1.0)


def test_what_the_kernel_tells() -> None:
    assert str(os.getpid()) in waited(os.getpid())
    assert waited(2**22 + 1) == {}
