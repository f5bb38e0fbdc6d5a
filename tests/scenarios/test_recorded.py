"""Replay of a real call: Chromium's camera in three layers, and the path of a subscriber whose link fell to 0.5 Mbit/s.

The log was written by a server (`rtc.packet_log`) with two Chromium pages, one behind a line of 0.5 Mbit/s with 0.3 s of
queue from its 6th to its 16th second, 3 Mbit/s before and after.
"""

import gzip
from pathlib import Path

import pytest

from sfu.forwarding.layers import Size
from tests.scenarios.test_downlink import layer_at
from tests.support.network import Link, Network
from tests.support.replay import Recording, estimates, read
from tests.support.viewer import Screen
from tests.support.virtual_sfu import VirtualSfu

LADDER = {"q": Size(240, 135), "h": Size(480, 270), "f": Size(960, 540)}


@pytest.fixture(scope="module")
def call() -> Recording:
    with gzip.open(Path(__file__).parent / "recorded" / "falls.jsonl.gz", "rt") as lines:
        return read(lines)


def test_the_same_feedback_is_the_same_estimate(call: Recording) -> None:
    (path,) = (rows for rows in call.paths.values() if any(kind == "sent" for _, kind, _ in rows))
    found = list(estimates(path))
    fell = next(each.when for each in found if each.target < 0.5e6)
    queued = next(each.when for each in found if each.queue > 0.05)
    assert 0 <= fell - queued <= 1.0
    assert max(each.target for each in found if each.when < queued) >= 2.5e6
    assert found == list(estimates(path))


@pytest.mark.parametrize("seed", [1, 2])
def test_a_recorded_camera_on_another_line(call: Recording, seed: int) -> None:
    """Sends the recorded camera through the current SFU, to a subscriber whose link narrows at another time."""
    network = Network(seed)
    sfu = VirtualSfu(network)
    (recorded,) = call.tracks.values()
    assert set(recorded.rids) == set(LADDER)
    sfu.play("cam", recorded, LADDER, Link(network, rate=10e6, delay=0.02), Link(network, delay=0.02))
    down = Link(network, rate=[(0, 3e6), (12, 0.25e6), (20, 3e6)], delay=0.03, queue=0.3)
    attendee = sfu.attend(down, Link(network, delay=0.03))
    screen = sfu.subscribe(attendee, "cam", width=960, height=540)
    network.run(30)
    assert isinstance(screen, Screen)
    assert layer_at(attendee, 11.9, "cam") in ("h", "f")
    # what it asks for changes nothing: a smaller layer begins where the recorded camera had a keyframe
    assert layer_at(attendee, 16, "cam") in ("q", "-")
    assert screen.rate(3, 12) > 0.15e6
