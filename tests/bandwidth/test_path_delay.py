"""Queueing delay: a standing queue counts, a busy receiver does not."""

import pytest

from sfu.bandwidth.path_delay import PathDelay


def feedback(delay: PathDelay, begin: float, waits: list[float], *, way: float = 0.03, back: float = 0.02) -> None:
    """One feedback: packets sent every 10 ms from `begin`, delayed by `waits` seconds beyond the transit time `way`."""
    times = [begin + number / 100 for number in range(len(waits))]
    ticks = [round((time + way + wait + 1000) * 4000) for time, wait in zip(times, waits, strict=True)]
    delay.update(times, ticks, times[-1] + way + waits[-1] + back)


def feedbacks(delay: PathDelay, begin: float, end: float, waits: list[float]) -> None:
    for step in range(round((end - begin) * 10)):
        feedback(delay, begin + step / 10, waits)


@pytest.mark.parametrize(
    ("waits", "newest", "standing"),
    [
        ([0.0] * 5, 0.0, 0.0),
        ([0.08] * 5, 0.08, 0.08),
        # a busy receiver reads packets late, by at most 80 ms
        ([0.0, 0.08, 0.07, 0.06, 0.05], 0.05, 0.0),
        ([0.04, 0.05, 0.06, 0.07, 0.08], 0.08, 0.04),
    ],
)
def test_queueing_delay(waits: list[float], newest: float, standing: float) -> None:
    delay = PathDelay()
    feedbacks(delay, 10.0, 11.0, [0.0] * 5)
    feedbacks(delay, 11.0, 12.5, waits)
    assert delay.newest == pytest.approx(newest, abs=0.001)
    assert delay.standing == pytest.approx(standing, abs=0.001)
    assert delay.path_rtt == pytest.approx(0.05 + standing, abs=0.012)  # smoothed


def test_the_base_delay_adapts_to_a_longer_path() -> None:
    delay = PathDelay()
    feedbacks(delay, 0.0, 5.0, [0.0] * 5)
    feedbacks(delay, 5.0, 60.0, [0.06] * 5)
    assert delay.standing == pytest.approx(0.06, abs=0.001)
    feedbacks(delay, 60.0, 130.0, [0.06] * 5)
    assert delay.standing == pytest.approx(0.0, abs=0.001)


def test_nothing_arrived() -> None:
    delay = PathDelay()
    delay.update([1.0, 1.1], [None, None], 1.2)
    delay.update([0.0], [4000], 1.2)  # a packet with an unknown send time
    assert (delay.rtt, delay.path_rtt, delay.standing) == (None, None, 0.0)
