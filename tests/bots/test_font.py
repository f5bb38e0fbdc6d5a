import numpy as np
import pytest

from sfu.bots.font import mask


def test_a_letter() -> None:
    rows = ["".join("#" if dot else "." for dot in row) for row in mask("T", 1)]
    assert rows == ["#####.", "..#...", "..#...", "..#...", "..#...", "..#...", "..#..."]


@pytest.mark.parametrize(("text", "same"), [("zoé", "ZOE"), ("Straße", "STRASSE"), ("我{", "??"), ("a\tb", "A?B")])
def test_other_characters(text: str, same: str) -> None:
    assert np.array_equal(mask(text, 2), mask(same, 2))


def test_scaled() -> None:
    assert mask("AB:", 3).shape == (21, 54)
