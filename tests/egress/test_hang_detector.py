"""Silence that counts as a hang, and silence that does not."""

import os

import pytest

from sfu.egress.hang_detector import MAX_START_TIME, START_TIMEOUT, HangDetector, run_queue_wait

TIMEOUT = 1.5


@pytest.mark.parametrize(
    ("waits", "hung_from"),
    [
        pytest.param(0.0, 1.6, id="stopped"),
        pytest.param(0.2, 1.6, id="runs, and says nothing"),
        pytest.param(0.9, 30.2, id="waits for a processor"),
    ],
)
def test_hang_after_silence(waits: float, hung_from: float) -> None:
    now = 0.0
    hang_detector = HangDetector(1, TIMEOUT, now, lambda pid: {"1": 0.0, "2": waits * now})
    hang_detector.beat(now)
    hang_detector.ready()
    while now < 40:
        now += 0.2
        if hang_detector.hung(now):
            break
    assert now == pytest.approx(hung_from)


def test_heartbeats_and_start() -> None:
    hang_detector = HangDetector(1, TIMEOUT, 100.0, lambda pid: {})
    assert not hang_detector.hung(100.0 + START_TIMEOUT)
    assert hang_detector.hung(100.1 + START_TIMEOUT)
    hang_detector.beat(150.0)
    assert not hang_detector.hung(150.0 + START_TIMEOUT), "a starting worker has more time"
    assert hang_detector.hung(150.1 + START_TIMEOUT)
    hang_detector.ready()
    for second in range(20):
        hang_detector.beat(200.0 + second)
        assert not hang_detector.hung(201.0 + second)


@pytest.mark.parametrize(
    ("share", "beats", "hung_from"), [(0.5, 0, 30.0), (0.9, 0, MAX_START_TIME), (0.9, 40, MAX_START_TIME + 40)]
)
def test_a_slow_start_on_a_busy_machine_is_not_a_hang(share: float, beats: int, hung_from: float) -> None:
    """Time in which the process waited for a processor does not count."""
    now = 0.0
    hang_detector = HangDetector(1, TIMEOUT, now, lambda pid: {"1": share * now})
    while now < 300 and not hang_detector.hung(now):
        now += 0.5
        if now <= beats:
            hang_detector.beat(now)
    assert now == pytest.approx(hung_from, abs=1.0)


def test_run_queue_waits_from_the_kernel() -> None:
    assert str(os.getpid()) in run_queue_wait(os.getpid())
    assert run_queue_wait(2**22 + 1) == {}
