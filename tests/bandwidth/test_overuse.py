"""Overuse detection and threshold adaptation."""

import pytest

from sfu.bandwidth.overuse import HIGHEST, LOWEST, START, BandwidthUsage, OveruseDetector


@pytest.mark.parametrize(
    ("slopes", "usage"),
    [
        ([0.0] * 5, BandwidthUsage.NORMAL),
        ([0.1], BandwidthUsage.NORMAL),  # not long enough
        ([0.1, 0.1, 0.1], BandwidthUsage.OVER),
        ([0.1, 0.09, 0.08], BandwidthUsage.NORMAL),  # recovers by itself
        ([-0.1], BandwidthUsage.UNDER),
        ([0.1, 0.1, 0.1, 0.0], BandwidthUsage.NORMAL),
    ],
)
def test_usage(slopes: list[float], usage: BandwidthUsage) -> None:
    detector = OveruseDetector()
    for number, slope in enumerate(slopes):
        detector.update(slope, 60, 10.0, 10.0 * number)
    assert detector.usage is usage


@pytest.mark.parametrize(("slope", "threshold"), [(0.0, LOWEST), (0.08, 60 * 0.08 * 4), (5.0, START)])
def test_the_threshold_follows_the_slope_but_not_outliers(slope: float, threshold: float) -> None:
    detector = OveruseDetector()
    for number in range(2000):
        detector.update(slope, 60, 10.0, 10.0 * number)
    assert detector.threshold == pytest.approx(threshold, rel=0.01)


def test_the_threshold_has_a_limit() -> None:
    detector = OveruseDetector()
    slope = 0.1
    for number in range(20_000):
        slope = min(slope * 1.001, 100.0)
        detector.update(slope, 60, 10.0, 10.0 * number)
    assert detector.threshold <= HIGHEST
