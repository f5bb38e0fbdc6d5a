"""The bounds of a history."""

import pytest

from sfu.rooms.history import History


@pytest.mark.parametrize(
    ("max_entries", "max_bytes", "sizes", "kept"),
    [
        (3, 100, [1, 1, 1], [0, 1, 2]),
        (3, 100, [1, 1, 1, 1], [1, 2, 3]),
        (10, 100, [50, 50], [0, 1]),
        (10, 100, [50, 50, 1], [1, 2]),
        (10, 100, [30, 30, 30, 90], [3]),
        (10, 100, [10, 100], [1]),
        (10, 100, [10, 101], []),
        (10, 100, [10, 101, 10], [2]),
        (0, 100, [1, 1], []),
        (10, 0, [0, 0], [0, 1]),
        (10, 0, [0, 1], []),
    ],
)
def test_the_oldest_entries_are_dropped(max_entries: int, max_bytes: int, sizes: list[int], kept: list[int]) -> None:
    history = History[int](max_entries, max_bytes)
    for number, size in enumerate(sizes):
        history.add(number, size)
    assert list(history) == kept
    assert len(history) == len(kept)
