"""The wall clock of a sender through steps, drift and wrong reports."""

import pytest

from sfu.rtp.sender_clock import CONFIRMATION_TIME, STEP, SenderClock, unwrap


def test_the_first_report_is_accepted() -> None:
    assert SenderClock().reported is None
    clock = SenderClock()
    assert clock.receive(1000.0, 5.0)
    assert (clock.wall, clock.reported) == (1000.0, 5.0)


def test_drift_applies_at_once() -> None:
    clock = SenderClock()
    for number in range(100):
        assert clock.receive(1000.0 + number * STEP * 0.9, float(number))
    assert clock.wall == 1000.0 + 99 * STEP * 0.9


@pytest.mark.parametrize("step", [STEP * 1.1, -STEP * 1.1, 3600.0])
def test_a_step_is_accepted_once_reports_agreed_on_it(step: float) -> None:
    clock = SenderClock()
    clock.receive(1000.0, 0.0)
    assert not clock.receive(1000.0 + step, 1.0)
    assert not clock.receive(1000.0 + step, 1.0 + CONFIRMATION_TIME * 0.99)
    assert (clock.wall, clock.reported) == (1000.0, 0.0)
    assert clock.receive(1000.0 + step, 1.0 + CONFIRMATION_TIME)
    assert clock.wall == 1000.0 + step


def test_a_single_wrong_report_changes_nothing() -> None:
    clock = SenderClock()
    clock.receive(1000.0, 0.0)
    assert not clock.receive(2000.0, 1.0)
    assert clock.receive(1000.0, 2.0)
    assert not clock.receive(2000.0, 2.0 + CONFIRMATION_TIME), "the agreement starts again"


def test_reports_that_contradict_each_other_are_never_accepted() -> None:
    clock = SenderClock()
    clock.receive(1000.0, 0.0)
    for number in range(1, 100):
        assert not clock.receive(1000.0 + number, number * CONFIRMATION_TIME / 2)
    assert clock.wall == 1000.0


def test_a_step_that_arrivals_confirm_is_accepted_at_once() -> None:
    clock = SenderClock()
    clock.receive(1000.0, 0.0)
    assert clock.receive(1500.0, 1.0, believed=True)
    assert clock.wall == 1500.0


def test_after_a_reset_any_report_is_accepted() -> None:
    clock = SenderClock()
    clock.receive(1000.0, 0.0)
    clock.receive(7.0, 1.0)
    clock.reset()
    assert clock.reported is None
    assert clock.receive(7.0, 2.0)


@pytest.mark.parametrize(
    ("timestamp", "near", "unwrapped"),
    [
        (5, 0, 5),
        (0xFFFF_FFFF, 0, -1),
        (1, 0xFFFF_FFFF, 0x1_0000_0001),
        (0xFFFF_FFFF, 0x1_0000_0001, 0xFFFF_FFFF),
        (7, 5 << 32, (5 << 32) + 7),
        (0x7FFF_FFFF, 0, 0x7FFF_FFFF),
        (0x8000_0000, 0, -0x8000_0000),
    ],
)
def test_timestamps_are_unwrapped_to_the_nearest_value(timestamp: int, near: int, unwrapped: int) -> None:
    assert unwrap(timestamp, near) == unwrapped
