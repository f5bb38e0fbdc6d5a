"""Tests of dynacast: requests follow the largest tile, up at once and down after a delay."""

import pytest

from sfu.forwarding.dynacast import PAUSE_DELAY, REPEAT, Dynacast
from sfu.forwarding.layers import Size

LADDER = {"q": Size(320, 180), "h": Size(640, 360), "f": Size(1280, 720)}


@pytest.mark.parametrize(
    ("tiles", "wanted"),
    [
        ([], ("q",)),
        ([(160, 90)], ("q",)),
        ([(320, 180), (330, 190)], ("q",)),
        ([(320, 180), (600, 340)], ("q", "h")),
        ([(640, 1000)], ("q", "h")),  # one side is filled: a picture keeps its shape
        ([(160, 90), (1920, 1080)], None),
        ([(160, 90), (0, 0)], None),
    ],
)
def test_the_largest_tile_counts(tiles: list[tuple[int, int]], wanted: tuple[str, ...] | None) -> None:
    dynacast = Dynacast()
    assert dynacast.update(LADDER, tiles, 0.0) is None  # all are sent; less is wanted late
    assert dynacast.update(LADDER, tiles, PAUSE_DELAY) == wanted


def test_more_at_once_and_less_late() -> None:
    dynacast, asked = Dynacast(), []
    story = [(0, 160), (6, 640), (7, 160), (9, 640), (10, 160), (14, 160), (16, 1280), (17, 1280)]
    for now, width in story:
        wanted = dynacast.update(LADDER, [(width, width * 9 // 16)], now)
        if wanted is not None:
            asked.append((now, wanted[-1]))
        for later in (now + PAUSE_DELAY,):
            assert dynacast.falls_at is None or dynacast.falls_at <= later
    assert asked == [(6, "h"), (16, "f")]


def test_layers_without_a_place_are_paused() -> None:
    dynacast = Dynacast()
    assert dynacast.paused_layers(LADDER) == {}
    for now in (0.0, PAUSE_DELAY):
        dynacast.update(LADDER, [(320, 180)], now)
    assert dynacast.paused_layers(LADDER) == {"h": LADDER["h"], "f": LADDER["f"]}
    dynacast.update(LADDER, [(0, 0)], 20.0)
    assert dynacast.paused_layers(LADDER) == {}


def test_a_layer_request_is_not_repeated() -> None:
    dynacast = Dynacast()
    dynacast.update(LADDER, [], 0.0)
    assert dynacast.update(LADDER, [], 5.0) == ("q",)
    assert [dynacast.update(LADDER, [], now) for now in (5.1, 20.0)] == [None, None]


def test_layers_are_asked_for_again_after_a_negotiation() -> None:
    dynacast = Dynacast()
    dynacast.negotiated(0.0)
    assert dynacast.next_at is None  # nothing was asked for yet
    dynacast.update(LADDER, [], 0.0)
    assert dynacast.update(LADDER, [], 5.0) == ("q",)
    dynacast.negotiated(6.0)
    assert dynacast.next_at == 6.0 + REPEAT
    assert dynacast.update(LADDER, [], 6.5) is None
    assert dynacast.update(LADDER, [], 7.0) == ("q",)
    assert dynacast.update(LADDER, [], 8.0) is None
    dynacast.negotiated(9.0)
    assert dynacast.update(LADDER, [(0, 0)], 9.1) == ("q", "h", "f")
    assert dynacast.update(LADDER, [(0, 0)], 11.0) is None
    assert dynacast.next_at is None


def test_without_a_floor_no_layer_continues_without_subscribers() -> None:
    dynacast = Dynacast(asked=0, floor=0, pause_delay=1.0)
    assert dynacast.update(LADDER, [], 0.0) is None
    assert dynacast.update(LADDER, [(0, 0)], 1.0) == tuple(LADDER)
    assert dynacast.update(LADDER, [], 2.0) is None
    assert dynacast.next_at == 3.0
    assert dynacast.update(LADDER, [], 3.0) == ()
    assert dynacast.paused_layers(LADDER) == LADDER
