import itertools

import pytest

from sfu.rtp.nack import MAX_MISSING, MAX_TRIES, NackGenerator


@pytest.mark.parametrize(
    ("last", "sequence", "missing"),
    [(5, 6, []), (5, 8, [6, 7]), (65_534, 1, [65_535, 0]), (10, 10 + 257, list(range(11, 267))), (10, 10 + 258, [])],
)
def test_a_gap_is_requested_and_a_jump_is_not(last: int, sequence: int, missing: list[int]) -> None:
    nack = NackGenerator()
    nack.gap(last, sequence, 1.0)
    assert list(nack.missing) == missing


def test_requests_follow_the_round_trip_time_and_stop() -> None:
    nack = NackGenerator()
    nack.gap(1, 3, 0.0)
    asked = [step for step in range(3000) if nack.due(step / 1000, 0.1)]
    assert len(asked) == MAX_TRIES
    assert asked[0] == 0
    assert all(later - earlier >= 100 for earlier, later in itertools.pairwise(asked))
    assert not nack.missing


def test_packets_that_arrived_are_not_requested() -> None:
    nack = NackGenerator()
    nack.gap(1, 4, 0.0)
    assert nack.arrived(2)
    assert not nack.arrived(2)
    assert nack.due(0.0, 0.1) == [3]


def test_missing_packets_are_bounded() -> None:
    nack = NackGenerator()
    for step in range(20):
        nack.gap(step * 300, step * 300 + 250, 0.0)
    assert len(nack.missing) == MAX_MISSING
