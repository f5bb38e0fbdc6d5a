"""When silence means that a process hangs."""

import os

import pytest

from sfu.production.vigil import START, Vigil, waited

TIMEOUT = 1.5


@pytest.mark.parametrize(
    ("waits", "hung_from"),
    [
        pytest.param(0.0, 1.6, id="stopped"),
        pytest.param(0.2, 1.6, id="runs, and says nothing"),
        pytest.param(0.9, 9.2, id="waits for a processor"),
    ],
)
def test_silence(waits: float, hung_from: float) -> None:
    now = 0.0
    vigil = Vigil(1, TIMEOUT, now, lambda pid: {"1": 0.0, "2": waits * now})
    vigil.beat(now)
    while now < 20:
        now += 0.2
        if vigil.hung(now):
            break
    assert now == pytest.approx(hung_from)


def test_beats_and_the_start() -> None:
    vigil = Vigil(1, TIMEOUT, 100.0, lambda pid: {})
    assert not vigil.hung(100.0 + START)
    assert vigil.hung(100.1 + START)
    for second in range(20):
        vigil.beat(200.0 + second)
        assert not vigil.hung(201.0 + second)


def test_what_the_kernel_tells() -> None:
    assert str(os.getpid()) in waited(os.getpid())
    assert waited(2**22 + 1) == {}
