"""One subscriber's path in a whole virtual SFU: capacity that falls and returns, loss, many who join, flows that share.

`python -m tests.scenarios.test_downlink` prints the layers on the path that falls and returns (README.md here shows them).
"""

import itertools
from typing import Any

import pytest

from tests.support.network import Burst, Link, Network, jain
from tests.support.seeds import seeds
from tests.support.simulcast import Camera, three_layers
from tests.support.viewer import Screen, Speaker
from tests.support.virtual_sfu import Attendee, VirtualSfu


def meeting(seed: int, publishers: int = 1, *, small: int = 0) -> tuple[Network, VirtualSfu]:
    """A server that publishers with good uplinks have been sending to for two seconds.

    The last `small` of them send no layer of 720 lines.
    """
    network = Network(seed)
    sfu = VirtualSfu(network)
    for number in range(publishers):
        layers = three_layers()[:2] if number >= publishers - small else None
        sfu.publish(f"cam{number}", Link(network, rate=10e6, delay=0.02), Link(network, delay=0.02), layers=layers)
    network.run(2.0)
    return network, sfu


def falls_and_returns(seed: int, low: float = 0.5e6, high: float = 3e6) -> tuple[Attendee, Attendee, Screen, Screen]:
    """`high` until 20 s, `low` until 40 s, then `high` again; the other subscriber has a good link throughout."""
    network, sfu = meeting(seed)
    down = Link(network, rate=[(0, high), (20, low), (40, high)], delay=0.03, queue=0.3)
    bad = sfu.attend(down, Link(network, delay=0.03))
    good = sfu.attend(Link(network, rate=20e6, delay=0.03), Link(network, delay=0.03))
    screens = []
    for attendee in (bad, good):
        screen = sfu.subscribe(attendee, "cam0")
        sfu.subscribe(attendee, "cam0*")
        assert isinstance(screen, Screen)
        screens.append(screen)
    network.run(70)
    return bad, good, screens[0], screens[1]


def layer_at(attendee: Attendee, when: float, name: str = "cam0") -> str:
    return [layer for at, track, layer, _ in attendee.story if track == name and at <= when][-1]


@pytest.mark.parametrize("seed", seeds(1, 2, 3))
def test_a_link_that_goes_from_3_to_half_a_megabit_and_back(seed: int) -> None:
    bad, good, screen, other = falls_and_returns(seed)
    assert layer_at(bad, 5) == "f"
    assert layer_at(bad, 22) == "q"
    assert layer_at(bad, 38) == "q"
    assert layer_at(bad, 55) == "f"
    below = next(when for when, target in bad.targets if when >= 20 and target < 0.5e6)
    assert below - 20 <= 2.0
    assert bad.down.waited(23, 40) <= 0.12  # probes are in it
    assert screen.frozen(20, 24) <= 0.4
    assert screen.frozen(24, 70) <= 0.02
    assert screen.frozen(4, 20) == 0.0
    switches = sum(track == "cam0" for _, track, _, _ in bad.story)
    assert switches <= 14
    assert other.frozen(3, 70) == 0.0
    assert layer_at(good, 69) == "f"


@pytest.mark.parametrize("seed", seeds(1, 2, 3))
def test_from_two_and_a_half_to_point_six_and_back(seed: int) -> None:
    """The goals: below the capacity in 2 s, queue p95 ≤ 100 ms after 3 s, 90 % of the capacity 15 s after the return."""
    bad, _, screen, _ = falls_and_returns(seed, 0.6e6, 2.5e6)
    assert next(when for when, target in bad.targets if when >= 20 and target < 0.6e6) <= 22
    assert bad.down.waited(23, 40) <= 0.12
    assert layer_at(bad, 55) == "f"
    assert screen.rate(55, 70) > 0.9 * 1.5e6


@pytest.mark.parametrize("delay", [0.02, 0.08])
@pytest.mark.parametrize("seed", seeds(1, 2, 3))
def test_from_five_to_a_third_of_a_megabit(seed: int, delay: float) -> None:
    """The lowest layer fits the new capacity. Retransmissions of the previous layer must not displace it."""
    network, sfu = meeting(seed)
    down = Link(network, rate=[(0, 5e6), (10, 0.3e6)], delay=delay, queue=0.3)
    attendee = sfu.attend(down, Link(network, delay=delay))
    screen = sfu.subscribe(attendee, "cam0")
    assert isinstance(screen, Screen)
    network.run(26)
    assert layer_at(attendee, 9.9) == "f"
    assert layer_at(attendee, 12) == layer_at(attendee, 25.9) == "q"
    assert screen.frozen(10, 14) <= 0.6
    assert screen.frozen(13, 26) <= 0.1


@pytest.mark.parametrize(
    ("link", "frozen", "concealed"),
    [
        ({"loss": 0.01}, 0.01, 0.02),
        ({"loss": 0.05}, 0.01, 0.06),
        ({"loss": 0.10}, 0.03, 0.12),
        ({"loss": 0.20}, 0.10, 0.22),
        ({"burst": Burst.of(0.05, 4)}, 0.03, 0.07),
        ({"loss": 0.02, "jitter": 0.01, "reorder": 0.02}, 0.01, 0.05),
    ],
)
@pytest.mark.parametrize("seed", seeds(1, 2))
def test_loss_is_repaired(link: dict[str, Any], frozen: float, concealed: float, seed: int) -> None:
    """100 ms of round trip between server and subscriber. Sound has no RED here: what is lost is concealed."""
    network, sfu = meeting(seed)
    attendee = sfu.attend(Link(network, rate=5e6, delay=0.05, **link), Link(network, delay=0.05, loss=0.01))
    screen, speaker = sfu.subscribe(attendee, "cam0"), sfu.subscribe(attendee, "cam0*")
    network.run(45)
    assert isinstance(screen, Screen)
    assert isinstance(speaker, Speaker)
    assert screen.frozen(5, 45) <= frozen
    assert speaker.concealed() <= concealed
    assert screen.rate(20, 45) > 0.12e6  # a picture all the time


@pytest.mark.parametrize("seed", seeds(1, 2))
def test_a_hundred_joins_in_a_second_cause_few_keyframe_requests(seed: int) -> None:
    network, sfu = meeting(seed)
    camera = sfu.publications["cam0"].source
    assert isinstance(camera, Camera)
    before, joined, screens = camera.plis, [], []
    for number in range(100):
        network.run(2 + number / 100)
        attendee = sfu.attend(Link(network, rate=20e6, delay=0.03), Link(network, delay=0.03))
        screen = sfu.subscribe(attendee, "cam0")
        assert isinstance(screen, Screen)
        screens.append(screen)
        joined.append(network.now)
    network.run(4.2)
    assert camera.plis - before <= 2 * 2.2 + 2
    assert max(screen.shown[0][0] - at for screen, at in zip(screens, joined, strict=True)) <= 1.0


@pytest.mark.parametrize("seed", seeds(1, 2))
def test_three_subscribers_behind_one_link_share_it(seed: int) -> None:
    network, sfu = meeting(seed, 3)
    shared = Link(network, rate=3e6, delay=0.03, queue=0.3)
    screens = []
    for number in range(3):
        attendee = sfu.attend(shared, Link(network, delay=0.03))
        screens.append(sfu.subscribe(attendee, f"cam{number}", width=640, height=360))
    network.run(60)
    assert jain([screen.rate(30, 60) for screen in screens if isinstance(screen, Screen)]) >= 0.9
    assert shared.waited(30, 60) <= 0.15


def test_nine_pictures_on_two_megabits_and_none_flaps() -> None:
    network, sfu = meeting(1, 9, small=8)
    attendee = sfu.attend(Link(network, rate=2e6, delay=0.03), Link(network, delay=0.03))
    screens = [sfu.subscribe(attendee, f"cam{n}", width=640, height=360, priority=200 - n) for n in range(9)]
    network.run(60)
    assert {layer_at(attendee, 59, f"cam{n}") for n in range(9)} <= {"q", "h"}
    changes = 0
    for number in range(9):
        layers = [layer for at, name, layer, _ in attendee.story if name == f"cam{number}" and at > 20]
        changes += sum(a != b for a, b in itertools.pairwise(layers))
    assert changes <= 8  # in 40 s
    assert sum(screen.frozen(10, 60) for screen in screens if isinstance(screen, Screen)) / 9 <= 0.05


def test_the_same_seed_is_the_same_meeting() -> None:
    def run() -> object:
        network, sfu = meeting(5)
        attendee = sfu.attend(Link(network, rate=1.5e6, delay=0.03, loss=0.03, jitter=0.005), Link(network, delay=0.03))
        screen = sfu.subscribe(attendee, "cam0")
        network.run(15)
        assert isinstance(screen, Screen)
        return attendee.story, attendee.targets, screen.shown

    assert run() == run()


def plot(attendee: Attendee, screen: Screen) -> str:
    """Layer, estimate and what came, two seconds a line."""
    lines = ["   s  layer  estimate  received  Mbit/s (▒ capacity, █ received)"]
    for second in range(2, 70, 2):
        targets = [target for when, target in attendee.targets if second <= when < second + 2]
        estimate, received = sum(targets) / max(1, len(targets)), screen.rate(second, second + 2)
        capacity = attendee.down.rate(float(second))
        bar = "█" * round(received / 1e5)
        bar += "▒" * max(0, round(capacity / 1e5) - len(bar))
        layer = layer_at(attendee, second + 1.99)
        lines.append(f"{second:4}  {layer:>5}  {estimate / 1e6:8.2f}  {received / 1e6:8.2f}  {bar}")
    return "\n".join(lines)


if __name__ == "__main__":
    found = falls_and_returns(1)
    for at, track, layer, reason in found[0].story:
        print(f"{at:6.2f} s  {track:<6} {layer or 'sound':<6} {reason}")
    print(plot(found[0], found[2]))
