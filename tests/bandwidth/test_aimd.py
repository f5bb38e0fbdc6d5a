"""Delay-based rate control: reaction to each state of the path."""

import pytest

from sfu.bandwidth.aimd import Aimd
from sfu.bandwidth.overuse import BandwidthUsage

N, O, U = BandwidthUsage.NORMAL, BandwidthUsage.OVER, BandwidthUsage.UNDER  # noqa: E741


def run(usages: list[BandwidthUsage], acked: float | None, start: float = 1e6, step: float = 0.1) -> Aimd:
    aimd = Aimd(start, 50e3, 10e6)
    for number, usage in enumerate(usages):
        aimd.update(usage, acked, 0.05, number * step)
    return aimd


@pytest.mark.parametrize(
    ("usages", "acked", "rate"),
    [
        ([N] * 12, None, 1e6 * 1.08**1.1),
        ([N] * 12, 1e6, 1e6 * 1.08**1.1),
        ([N] * 200, 1e6, 1.51e6),  # an unused rate does not grow
        ([N] * 30, 0.2e6, 1e6),  # nor does it shrink
        ([O], 0.8e6, 0.85 * 0.8e6),
        ([O], None, 0.85e6),
        ([O], 5e6, 1e6),  # overuse never raises the rate
        ([N, U, U, U], 1e6, 1e6 * 1.0),
        ([O], 10e3, 50e3),
    ],
)
def test_rate(usages: list[BandwidthUsage], acked: float | None, rate: float) -> None:
    assert run([N, *usages], acked).rate == pytest.approx(rate, rel=0.01)


def test_decreases_are_a_round_trip_apart() -> None:
    aimd = run([N, O, O, O], 0.9e6, step=0.01)
    assert aimd.rate == pytest.approx(0.85 * 0.9e6)


def test_growth_near_the_capacity_is_additive_and_at_least_4_kbps() -> None:
    aimd = run([N, O, N], 1e6)
    assert aimd.near_capacity
    before = aimd.rate
    for number in range(10):
        aimd.update(N, 0.95e6, 0.05, 0.3 + number * 0.1)
    assert 4000 <= aimd.rate - before < 0.04 * before
    slow = run([N, O, N], 0.06e6, start=0.06e6)
    before = slow.rate
    for number in range(10):
        slow.update(N, 0.06e6, 5.0, 0.3 + number * 0.1)
    assert slow.rate - before == pytest.approx(4000, rel=0.02)


def test_exceeding_the_known_capacity_ends_additive_growth() -> None:
    aimd = run([N, O, N], 1e6)
    aimd.update(N, 1.3e6, 0.05, 0.5)
    assert not aimd.near_capacity


def test_a_probe_raises_and_never_lowers() -> None:
    aimd = run([N], 1e6)
    aimd.raise_to(0.5e6, 1.0)
    assert aimd.rate == 1e6
    aimd.raise_to(3e6, 1.0)
    assert aimd.rate == 3e6
    aimd.raise_to(30e6, 1.0)
    assert aimd.rate == 10e6
    aimd.lower_to(1.0)
    assert aimd.rate == 50e3
