"""Loss-based rate limit, and detection of link loss."""

import random
from collections.abc import Callable

import pytest

from sfu.bandwidth.loss_based import LossLimit
from tests.support.network import Burst, Link, Network


def drive(lost: Callable[[float, float], float], *, delayed: bool, seconds: float, target: float = 1e6) -> LossLimit:
    """`lost(rate, now)`: loss ratio of the path at this send rate."""
    limit, chance, carry = LossLimit(), random.Random(1), 0.0
    for step in range(int(seconds * 20)):
        now = step * 0.05
        rate = min(target, limit.rate)
        carry += rate / 8 / 1000 * 0.05
        total, carry = int(carry), carry - int(carry)
        gone = sum(chance.random() < lost(rate, now) for _ in range(total))
        acked = rate * (1 - lost(rate, now))
        limit.update(gone, total, target=target, acked=acked, delayed=delayed, now=now)
    return limit


@pytest.mark.parametrize("share", [0.0, 0.01, 0.05])
def test_little_loss_sets_no_limit(share: float) -> None:
    assert drive(lambda rate, now: share, delayed=False, seconds=20).rate > 0.8e6


@pytest.mark.parametrize("share", [0.15, 0.2, 0.3])
def test_a_lossy_but_empty_path_keeps_its_rate(share: float) -> None:
    limit = drive(lambda rate, now: share, delayed=False, seconds=30)
    assert limit.rate > 0.7e6
    assert limit.link_loss == pytest.approx(share, rel=0.5)


def test_a_policed_path_is_detected_without_delay() -> None:
    limit = drive(lambda rate, now: max(0.0, 1 - 0.4e6 / rate), delayed=False, seconds=30)
    assert 0.3e6 < limit.rate < 0.5e6


def test_loss_with_delay_is_congestion() -> None:
    assert drive(lambda rate, now: 0.3, delayed=True, seconds=3).rate < 0.4e6


def test_the_limit_ends_with_the_loss() -> None:
    limit = drive(lambda rate, now: 0.3 if now < 2 else 0.0, delayed=True, seconds=30)
    assert limit.rate == float("inf")


def test_link_loss_decays_when_the_loss_ends() -> None:
    limit = drive(lambda rate, now: 0.25 if now < 20 else 0.0, delayed=False, seconds=60)
    assert limit.link_loss < 0.02


def test_bursts_do_not_collapse_the_rate() -> None:
    network, limit = Network(5), LossLimit()
    link = Link(network, burst=Burst.of(0.08, 8))
    low = float("inf")
    carry = 0.0
    for step in range(1200):
        network.run(step * 0.05)
        rate = min(1e6, limit.rate)
        carry += rate / 8 / 1000 * 0.05
        total, carry = int(carry), carry - int(carry)
        before = link.lost
        for _ in range(total):
            link.send(0, 1000, lambda _: None)
        limit.update(link.lost - before, total, target=1e6, acked=0.92 * rate, delayed=False, now=network.now)
        low = min(low, limit.rate)
    assert low > 0.4e6
    assert limit.rate > 0.6e6


def test_few_packets_have_no_effect() -> None:
    limit = LossLimit()
    for step in range(10):
        limit.update(1, 1, target=1e6, acked=None, delayed=True, now=step * 0.5)
    assert limit.rate == float("inf")
