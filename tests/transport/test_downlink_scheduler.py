"""Who is looked at, and when."""

import logging

import pytest

from sfu.bandwidth.settings import Settings
from sfu.forwarding.allocator import Layer, LayerRequest
from sfu.forwarding.decision_log import DecisionLog
from sfu.forwarding.rtcp_handler import TICK
from sfu.transport.downlink_scheduler import UPDATE_EVERY, DownlinkScheduler
from sfu.transport.layer_control import LayerControl
from sfu.transport.settings import Settings as TransportSettings
from sfu.transport.webrtc_server import WebRtcServer


class Looked(LayerControl):
    """Records the times of its updates, and fails on request."""

    def __init__(self, downlinks: DownlinkScheduler) -> None:
        super().__init__(
            WebRtcServer(TransportSettings()).engine, downlinks, lambda subscription, sent_state: None, DecisionLog()
        )
        self.looks: list[tuple[float, bool]] = []
        self.fails = False

    def update(self, now: float, *, allocate: bool) -> None:
        self.looks.append((round(now, 3), allocate))
        self.changed.clear()
        if self.fails:
            raise RuntimeError("planted")


def opened(downlinks: DownlinkScheduler) -> Looked:
    layer_control = Looked(downlinks)
    layer_control.downlink = downlinks.open(layer_control, lambda key: (), 0.0)
    assert layer_control.downlink is not None
    layer_control.downlink.estimator.sent(1, [100], 0.0)
    return layer_control


@pytest.fixture
def downlinks() -> DownlinkScheduler:
    return DownlinkScheduler(WebRtcServer(TransportSettings()), Settings())


def test_every_second_tick_allocates(downlinks: DownlinkScheduler) -> None:
    layer_control = opened(downlinks)
    for step in range(5):
        downlinks.tick(step * TICK)
    assert layer_control.looks == [(0.0, True), (0.05, True), (0.1, True)]
    assert pytest.approx(2 * TICK) == UPDATE_EVERY


def test_a_downlink_without_media_costs_two_checks_a_second(downlinks: DownlinkScheduler) -> None:
    layer_control = opened(downlinks)
    assert layer_control.downlink is not None
    layer_control.downlink.handle_timer(0.0)
    for step in range(81):
        downlinks.tick(step * TICK)
    assert [now for now, _ in layer_control.looks] == [0.0, 0.5, 1.0, 1.5, 2.0]


def test_satisfied_downlinks_are_checked_five_times_a_second(
    downlinks: DownlinkScheduler,
) -> None:
    layer_control, layer = Looked(downlinks), Layer("f", 0, 500e3, 640, 360)
    downlink = layer_control.downlink = downlinks.open(layer_control, lambda key: (layer,), 0.0)
    assert downlink is not None
    downlink.requests["a"] = LayerRequest("a", "video")
    downlink.handle_timer(0.0)
    downlink.estimator.sent(1, [100], 0.0)
    downlinks.tick(0.0)
    assert downlink.is_satisfied
    for step in range(1, 17):
        downlinks.tick(step * TICK)
    downlink.estimator._delay.newest = 0.1
    for step in range(17, 22):
        downlinks.tick(step * TICK)
    assert [now for now, _ in layer_control.looks] == [0.0, 0.2, 0.4, 0.45, 0.5]


def test_a_probe_is_filled_up_in_every_tick(downlinks: DownlinkScheduler, monkeypatch: pytest.MonkeyPatch) -> None:
    layer_control = opened(downlinks)
    monkeypatch.setattr(type(layer_control.downlink), "probing", True)
    for step in range(4):
        downlinks.tick(step * TICK)
    assert layer_control.looks == [(0.0, True), (0.025, False), (0.05, True), (0.075, False)]


def test_changed_downlinks_are_checked_in_the_next_tick(downlinks: DownlinkScheduler) -> None:
    layer_control, other = opened(downlinks), opened(downlinks)
    downlinks.tick(0.0)
    layer_control.changed[1] = None
    downlinks.tick(TICK)
    downlinks.tick(2 * TICK)
    assert [now for now, _ in layer_control.looks] == [0.0, 0.025]
    assert [now for now, _ in other.looks] == [0.0, 0.05]


def test_closed_downlinks_are_not_checked(downlinks: DownlinkScheduler) -> None:
    layer_control = opened(downlinks)
    layer_control.changed[1] = None
    downlinks.close(layer_control)
    downlinks.close(layer_control)
    downlinks.tick(0.0)
    assert layer_control.looks == []


def test_one_subscribers_fault_is_not_the_others(
    downlinks: DownlinkScheduler, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = opened(downlinks), opened(downlinks)
    first.fails = True
    with caplog.at_level(logging.ERROR):
        downlinks.tick(0.0)
        downlinks.tick(1.0)
    assert len(first.looks) == len(second.looks) == 2
    assert [record.message for record in caplog.records] == ["allocation failed"] * 2


def test_an_operator_may_want_none() -> None:
    downlinks = DownlinkScheduler(WebRtcServer(TransportSettings()), Settings(enabled=False))
    layer_control = Looked(downlinks)
    assert downlinks.open(layer_control, lambda key: (), 0.0) is None
    downlinks.tick(0.0)
    assert layer_control.looks == []
