"""Trendline slope, compared with a plain least-squares computation."""

import random

import pytest

from sfu.bandwidth.trendline import SMOOTHING, WINDOW, Trendline


def plain(deltas: list[tuple[float, float]]) -> float:
    accumulated = smoothed = when = 0.0
    points = []
    for sent, arrived in deltas:
        accumulated += arrived - sent
        smoothed = SMOOTHING * smoothed + (1 - SMOOTHING) * accumulated
        when += arrived
        points.append((when, smoothed))
    points = points[-WINDOW:]
    x0, y0 = (sum(values) / len(points) for values in zip(*points, strict=True))
    slope: float = sum((x - x0) * (y - y0) for x, y in points) / sum((x - x0) ** 2 for x, _ in points)
    return slope


@pytest.mark.parametrize("count", [20, 21, 40, 1000])
def test_running_sums_match_least_squares(count: int) -> None:
    chance = random.Random(count)
    deltas = [(10.0, 10 + chance.gauss(0.2, 2)) for _ in range(count)]
    line, when = Trendline(), 5e9
    for sent, arrived in deltas:
        when += arrived
        slope = line.update(sent, arrived, when)
    assert slope == pytest.approx(plain(deltas), rel=1e-3, abs=1e-6)
    assert line.count == min(count, 60)


def test_no_slope_before_the_window_is_full() -> None:
    line = Trendline()
    assert [line.update(10, 20, 20.0 * n) for n in range(WINDOW - 1)] == [0.0] * (WINDOW - 1)
    assert line.update(10, 20, 20.0 * WINDOW) > 0


def test_simultaneous_arrivals_have_no_slope() -> None:
    line = Trendline()
    for _ in range(40):
        assert line.update(0, 0, 7.0) == 0.0
