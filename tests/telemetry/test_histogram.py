import pytest

from sfu.telemetry.histogram import Distribution, Histogram


def test_observations_count_towards_their_upper_bound() -> None:
    histogram = Histogram((1.0, 2.0))
    for value in (0.5, 1.0, 1.5, 2.0, 9.0):
        histogram.observe(value)
    assert histogram.distribution() == Distribution((1.0, 2.0), (2, 2, 1), 14.0)


def test_bounds_must_increase() -> None:
    with pytest.raises(ValueError, match="increasing"):
        Histogram((2.0, 1.0))
    with pytest.raises(ValueError, match="one more count"):
        Distribution((1.0,), (0,), 0.0)
