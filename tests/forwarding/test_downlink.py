"""Tests of one downlink over time. tests/scenarios/test_downlink.py runs downlinks in a virtual network."""

from sfu.bandwidth.settings import Settings
from sfu.bandwidth.twcc import Feedback
from sfu.forwarding.allocator import AllocationReason, Layer, LayerRequest
from sfu.forwarding.downlink import Change, Downlink

LAYERS = (Layer("q", 0, 150e3, 320, 180), Layer("h", 0, 500e3, 640, 360), Layer("f", 0, 1.4e6, 1280, 720))


def downlink(start: float, *, layers: tuple[Layer, ...] = LAYERS) -> Downlink:
    made = Downlink(Settings(start=start), lambda key: layers if key == "cam" else (), 0.0)
    made.requests["cam"] = LayerRequest("cam", "video")
    return made


def names(changes: list[Change]) -> list[tuple[str, AllocationReason, bool]]:
    return [(c.decision.layer.name if c.decision.layer else "-", c.decision.reason, c.urgent) for c in changes]


def test_the_first_look_decides_and_the_second_says_nothing() -> None:
    path = downlink(0.6e6)
    assert names(path.handle_timer(0.0)) == [("h", AllocationReason.TIER, False)]
    assert path.handle_timer(0.05) == []


def test_changed_settings_are_allocated_at_once() -> None:
    path = downlink(0.6e6)
    path.handle_timer(0.0)
    path.requests["cam"] = LayerRequest("cam", "video", hidden=True)
    assert path.handle_timer(0.05) == []  # without `touch`
    path.touch()
    assert names(path.handle_timer(0.1)) == [("-", AllocationReason.HIDDEN, False)]


def test_a_flooded_path_does_not_wait_for_a_keyframe() -> None:
    path = downlink(4e6)
    assert names(path.handle_timer(0.0)) == [("f", AllocationReason.REQUESTED, False)]
    path.receive_remb(0.3e6, 5.0)
    assert names(path.handle_timer(5.0)) == [("q", AllocationReason.BUDGET, True)]
    assert path.handle_timer(5.05) == []


def test_small_changes_of_the_budget_are_not_looked_at() -> None:
    path = downlink(4e6)
    path.handle_timer(0.0)
    before = path.allocation
    path.receive_remb(3.6e6, 0.1)
    path.handle_timer(0.15)
    assert path.allocation is before
    path.receive_remb(3.0e6, 0.2)
    path.handle_timer(0.25)
    assert path.allocation is not before


def test_padding_only_while_there_is_something_to_gain() -> None:
    path = downlink(0.6e6)
    path.handle_timer(0.0)
    path.estimator.sent(0, [1000] * 5, 0.0)
    path.receive_feedback(Feedback(0, 0.0, 5, 0, [100, 104, 108, 112, 116]), 0.1)
    path.handle_timer(0.1)
    assert path.probing
    assert path.padding(0.1, 0.025) > 1000
    idle = downlink(20e6)
    idle.handle_timer(0.0)
    idle.estimator.sent(0, [1000] * 5, 0.0)
    idle.receive_feedback(Feedback(0, 0.0, 5, 0, [100, 104, 108, 112, 116]), 0.1)
    idle.handle_timer(0.1)
    assert not idle.probing
    assert idle.padding(0.1, 0.025) == 0
