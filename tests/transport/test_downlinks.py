"""Who is looked at, and when."""

import logging

import pytest

from sfu.bandwidth.settings import Settings
from sfu.forwarding.control import TICK
from sfu.forwarding.diary import Diary
from sfu.transport.downlinks import LOOK_EVERY, Downlinks
from sfu.transport.hub import Hub
from sfu.transport.settings import Settings as TransportSettings
from sfu.transport.steering import Steering


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
    assert downlinks.open(steering, lambda key: (), 0.0) is not None
    return steering


@pytest.fixture
def downlinks() -> Downlinks:
    return Downlinks(Hub(TransportSettings()), Settings())


def test_every_second_tick_allocates(downlinks: Downlinks) -> None:
    steering = opened(downlinks)
    for step in range(5):
        downlinks.tick(step * TICK)
    assert steering.looks == [(0.0, True), (0.025, False), (0.05, True), (0.075, False), (0.1, True)]
    assert pytest.approx(2 * TICK) == LOOK_EVERY


def test_what_changed_is_looked_at_in_the_next_tick(downlinks: Downlinks) -> None:
    steering, other = opened(downlinks), opened(downlinks)
    downlinks.tick(0.0)
    downlinks.touch(steering)
    downlinks.tick(TICK)
    downlinks.tick(2 * TICK)
    assert [allocated for _, allocated in steering.looks] == [True, True, False]
    assert [allocated for _, allocated in other.looks] == [True, False, True]


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
