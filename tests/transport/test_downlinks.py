"""Who is looked at, and when."""

import logging

import pytest

from sfu.bandwidth.settings import Settings
from sfu.forwarding.allocator import Layer
from sfu.forwarding.control import TICK
from sfu.forwarding.decision_log import Diary
from sfu.forwarding.downlink import Want
from sfu.transport.downlinks import LOOK_EVERY, Downlinks
from sfu.transport.layer_control import Steering
from sfu.transport.settings import Settings as TransportSettings
from sfu.transport.webrtc_server import Hub


class Looked(Steering):
    """Remembers when it was looked at, and fails when told to."""

    def __init__(self, downlinks: Downlinks) -> None:
        super().__init__(Hub(TransportSettings()), downlinks, lambda outbound, told: None, Diary())
        self.looks: list[tuple[float, bool]] = []
        self.fails = False

    def look(self, now: float, *, allocate: bool) -> None:
        self.looks.append((round(now, 3), allocate))
        if self.fails:
            raise RuntimeError("planted")


def opened(downlinks: Downlinks) -> Looked:
    steering = Looked(downlinks)
    steering.downlink = downlinks.open(steering, lambda key: (), 0.0)
    assert steering.downlink is not None
    steering.downlink.estimator.sent(1, [100], 0.0)
    return steering


@pytest.fixture
def downlinks() -> Downlinks:
    return Downlinks(Hub(TransportSettings()), Settings())


def test_every_second_tick_allocates(downlinks: Downlinks) -> None:
    steering = opened(downlinks)
    for step in range(5):
        downlinks.tick(step * TICK)
    assert steering.looks == [(0.0, True), (0.05, True), (0.1, True)]
    assert pytest.approx(2 * TICK) == LOOK_EVERY


def test_whom_nothing_is_sent_costs_two_looks_a_second(downlinks: Downlinks) -> None:
    steering = opened(downlinks)
    assert steering.downlink is not None
    steering.downlink.handle_timer(0.0)
    for step in range(81):
        downlinks.tick(step * TICK)
    assert [now for now, _ in steering.looks] == [0.0, 0.5, 1.0, 1.5, 2.0]


def test_who_has_all_that_it_wants_is_looked_at_five_times_a_second_until_something_waits(downlinks: Downlinks) -> None:
    steering, layer = Looked(downlinks), Layer("f", 0, 500e3, 640, 360)
    downlink = steering.downlink = downlinks.open(steering, lambda key: (layer,), 0.0)
    assert downlink is not None
    downlink.wants["a"] = Want("video")
    downlink.handle_timer(0.0)
    downlink.estimator.sent(1, [100], 0.0)
    downlinks.tick(0.0)
    assert downlink.calm
    for step in range(1, 17):
        downlinks.tick(step * TICK)
    downlink.estimator._delay.newest = 0.1
    for step in range(17, 22):
        downlinks.tick(step * TICK)
    assert [now for now, _ in steering.looks] == [0.0, 0.2, 0.4, 0.45, 0.5]


def test_a_probe_is_filled_up_in_every_tick(downlinks: Downlinks, monkeypatch: pytest.MonkeyPatch) -> None:
    steering = opened(downlinks)
    monkeypatch.setattr(type(steering.downlink), "probing", True)
    for step in range(4):
        downlinks.tick(step * TICK)
    assert steering.looks == [(0.0, True), (0.025, False), (0.05, True), (0.075, False)]


def test_what_changed_is_looked_at_in_the_next_tick(downlinks: Downlinks) -> None:
    steering, other = opened(downlinks), opened(downlinks)
    downlinks.tick(0.0)
    downlinks.touch(steering)
    downlinks.tick(TICK)
    downlinks.tick(2 * TICK)
    assert [now for now, _ in steering.looks] == [0.0, 0.025]
    assert [now for now, _ in other.looks] == [0.0, 0.05]


def test_whoever_closed_is_not_looked_at(downlinks: Downlinks) -> None:
    steering = opened(downlinks)
    downlinks.touch(steering)
    downlinks.close(steering)
    downlinks.close(steering)
    downlinks.tick(0.0)
    assert steering.looks == []


def test_one_subscribers_fault_is_not_the_others(downlinks: Downlinks, caplog: pytest.LogCaptureFixture) -> None:
    first, second = opened(downlinks), opened(downlinks)
    first.fails = True
    with caplog.at_level(logging.ERROR):
        downlinks.tick(0.0)
        downlinks.tick(1.0)
    assert len(first.looks) == len(second.looks) == 2
    assert [record.message for record in caplog.records] == ["allocation failed"] * 2


def test_an_operator_may_want_none() -> None:
    downlinks = Downlinks(Hub(TransportSettings()), Settings(enabled=False))
    steering = Looked(downlinks)
    assert downlinks.open(steering, lambda key: (), 0.0) is None
    downlinks.tick(0.0)
    assert steering.looks == []
