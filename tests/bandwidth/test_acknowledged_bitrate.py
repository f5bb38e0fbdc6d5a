"""Acknowledged bitrate from irregular feedback."""

import random

import pytest

from sfu.bandwidth.acknowledged_bitrate import AcknowledgedBitrate


def test_no_rate_before_half_a_second() -> None:
    acked = AcknowledgedBitrate()
    for number in range(6):
        acked.update(1000, 5 + number * 0.1)
        assert (acked.rate is None) == (number < 5)
    assert acked.rate == pytest.approx(80_000)


@pytest.mark.parametrize("seed", range(3))
def test_noise_is_smoothed_and_changes_are_followed(seed: int) -> None:
    chance = random.Random(seed)
    acked = AcknowledgedBitrate()
    at = 0.0
    for _ in range(100):
        at += 0.05
        acked.update(int(6250 * chance.uniform(0.7, 1.3)), at)
    assert acked.rate == pytest.approx(1e6, rel=0.1)
    for _ in range(20):
        at += 0.05
        acked.update(2500, at)
    assert acked.rate == pytest.approx(0.4e6, rel=0.25)


def test_a_pause_does_not_count() -> None:
    acked = AcknowledgedBitrate()
    for number in range(20):
        acked.update(5000, number * 0.1)
    before = acked.rate
    acked.update(5000, 60.0)
    assert acked.rate == before
    acked.update(5000, 60.0)
    assert acked.rate == before
