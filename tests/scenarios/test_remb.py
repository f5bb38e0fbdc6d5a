"""Viewers that send REMB and no transport-wide feedback: aiortc's own estimator in the virtual network."""

from typing import Any

import pytest

from tests.support.network import Link, Network
from tests.support.seeds import seeds
from tests.support.viewer import Screen
from tests.support.virtual_sfu import Attendee, VirtualSfu


def watching(seed: int, down: dict[str, Any], until: float, cameras: int = 1) -> tuple[Attendee, list[Screen]]:
    network = Network(seed)
    sfu = VirtualSfu(network)
    for number in range(cameras):
        sfu.publish(f"cam{number}", Link(network, rate=10e6, delay=0.001), Link(network, delay=0.001))
    network.run(2.0)
    viewer = sfu.attend_with_remb(Link(network, **down), Link(network, delay=0.001))
    screens = []
    for number in range(cameras):
        screen = sfu.subscribe(viewer, f"cam{number}")
        assert isinstance(screen, Screen)
        screens.append(screen)
        sfu.subscribe(viewer, f"cam{number}*")
    network.run(until)
    return viewer, screens


def top_share(attendee: Attendee, since: float, until: float, name: str = "cam0", layer: str = "f") -> float:
    """Share of the time in which this layer was chosen."""
    changes = [(at, chosen) for at, track, chosen, _ in attendee.story if track == name]
    total = 0.0
    for (at, chosen), (end, _) in zip(changes, [*changes[1:], (until, "")], strict=True):
        if chosen == layer:
            total += max(0.0, min(end, until) - max(at, since))
    return total / (until - since)


@pytest.mark.parametrize("seed", seeds(1, 2))
def test_an_empty_path_gets_the_largest_picture_and_keeps_it(seed: int) -> None:
    viewer, (screen,) = watching(seed, {"rate": 100e6, "delay": 0.001}, 50)
    assert top_share(viewer, 25, 50) >= 0.95
    assert top_share(viewer, 5, 50, layer="q") == 0.0
    assert screen.frozen(4, 50) <= 0.02


def test_several_pictures_have_an_estimate_each() -> None:
    viewer, _ = watching(1, {"rate": 100e6, "delay": 0.001}, 50, cameras=2)
    for name in ("cam0", "cam1"):
        assert top_share(viewer, 42, 50, name) >= 0.9


@pytest.mark.parametrize("seed", seeds(1, 2))
def test_a_narrow_path_is_not_flooded(seed: int) -> None:
    viewer, (screen,) = watching(seed, {"rate": 0.9e6, "delay": 0.03, "queue": 0.3}, 90)
    assert top_share(viewer, 30, 90) <= 0.15
    assert viewer.down.waited(30, 90) <= 0.3
    assert screen.frozen(30, 90) <= 0.05


def test_a_path_that_falls_and_returns() -> None:
    rate = [(0, 5e6), (40, 0.6e6), (60, 5e6)]
    viewer, (screen,) = watching(1, {"rate": rate, "delay": 0.02, "queue": 0.3}, 105)
    assert top_share(viewer, 32, 40) >= 0.9
    assert top_share(viewer, 48, 60) <= 0.2
    assert top_share(viewer, 95, 105) >= 0.8
    assert screen.frozen(48, 60) <= 0.1
