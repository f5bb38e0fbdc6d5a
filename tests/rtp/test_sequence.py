"""Circular arithmetic with 16-bit sequence numbers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sfu.rtp.sequence import SequenceUnwrapper, difference, is_newer


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [(1, 0, 1), (0, 1, -1), (0, 65535, 1), (65535, 0, -1), (0x8000, 0, -0x8000), (0x7FFF, 0, 0x7FFF), (5, 5, 0)],
)
def test_difference(a: int, b: int, expected: int) -> None:
    assert difference(a, b) == expected
    assert is_newer(a, b) == (expected > 0)


@given(st.integers(0, 0xFFFF), st.lists(st.integers(-30000, 30000), max_size=100))
def test_unwrapping_follows_steps_of_less_than_half_the_circle(first: int, steps: list[int]) -> None:
    unwrapper = SequenceUnwrapper()
    assert unwrapper.unwrap(first) == first
    highest = first
    for step in steps:
        number = highest + step
        assert unwrapper.unwrap(number & 0xFFFF) == number
        highest = max(highest, number)
        assert unwrapper.highest == highest
