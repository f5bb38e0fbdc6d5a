"""The token bucket."""

import pytest

from sfu.signaling.token_bucket import TokenBucket


@pytest.mark.parametrize(
    ("takes", "allowed"),
    [
        ([(0, 1)] * 4, [True, True, True, False]),
        ([(0, 3), (0.4, 1), (0.5, 1)], [True, False, True]),
        ([(100, 1)] * 4, [True, True, True, False]),
        ([(0, 50), (0, 1), (2, 50)], [True, False, True]),
        ([(0, 2.5), (0, 0.5), (0, 0.1)], [True, True, False]),
    ],
    ids=["a burst", "refill", "no more than the burst is saved up", "larger than the burst", "fractions"],
)
def test_bucket(takes: list[tuple[float, float]], allowed: list[bool]) -> None:
    bucket = TokenBucket(rate=2, burst=3, now=0)
    assert [bucket.take(cost, now) for now, cost in takes] == allowed


def test_how_long_to_wait() -> None:
    bucket = TokenBucket(rate=2, burst=3, now=0)
    assert bucket.wait(3) == 0
    assert bucket.take(3, 0)
    assert not bucket.take(2, 0.5)
    assert bucket.wait(2) == 0.5
    assert not bucket.take(2, 0.9)
    assert bucket.take(2, 1.0)
    assert bucket.wait(50) == 1.5
