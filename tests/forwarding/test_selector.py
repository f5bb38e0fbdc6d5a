import pytest

from sfu.forwarding.encoding import Encoding
from sfu.forwarding.layers import Size
from sfu.forwarding.selector import SETTLE, choose, size_of
from tests.support.wire import Bench

DECLARED = {"q": Size(320, 180), "h": Size(640, 360), "f": Size(1280, 720)}
NOW = 100.0


def encodings(**age: float | None) -> dict[str, Encoding]:
    """Encodings by rid, alive for so many seconds (None: not alive)."""
    track = Bench().video(tuple(age))
    for number, (rid, seconds) in enumerate(age.items()):
        encoding = track.encodings[rid]
        encoding.ssrc = number + 1
        encoding.alive = seconds is not None
        encoding.first_arrival = NOW - (seconds or 0)
    return track.encodings


@pytest.mark.parametrize(
    ("width", "height", "best"),
    [
        (0, 0, "f"),
        (160, 90, "q"),
        (320, 180, "q"),
        (340, 190, "q"),
        (400, 225, "h"),
        (640, 360, "h"),
        (700, 400, "h"),
        (1000, 560, "f"),
        (3840, 2160, "f"),
        (90, 160, "q"),
        (200, 400, "q"),
    ],
)
def test_the_smallest_encoding_that_fills_the_tile(width: int, height: int, best: str) -> None:
    chosen = choose(encodings(q=9, h=9, f=9).values(), DECLARED, width, height, None, NOW)
    assert chosen is not None
    assert chosen.rid == best


@pytest.mark.parametrize(
    ("ages", "current", "best"),
    [
        ({"q": None, "h": None, "f": None}, None, None),
        ({"q": 9, "h": None, "f": None}, "f", "q"),
        ({"q": 0.1, "h": None, "f": None}, None, "q"),
        ({"q": 9, "h": 9, "f": SETTLE / 2}, "h", "h"),
        ({"q": 9, "h": 9, "f": SETTLE}, "h", "f"),
        ({"q": 0.1, "h": 0.2, "f": 0.1}, None, "f"),
        ({"q": 0.1, "h": 0.2, "f": 0.1}, "q", "q"),
    ],
)
def test_dead_layers_are_left_and_new_ones_must_settle(
    ages: dict[str, float | None], current: str | None, best: str | None
) -> None:
    known = encodings(**ages)
    chosen = choose(known.values(), DECLARED, 1280, 720, known[current] if current else None, NOW)
    assert (chosen.rid if chosen else None) == best


def test_a_keyframe_knows_better_than_the_declaration() -> None:
    encoding = encodings(q=9)["q"]
    assert size_of(encoding, DECLARED) == (320, 180)
    encoding.width, encoding.height = 160, 120
    assert size_of(encoding, DECLARED) == (160, 120)
    assert size_of(encodings(x=9)["x"], DECLARED) == (0, 0)
