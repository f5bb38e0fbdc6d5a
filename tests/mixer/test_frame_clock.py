"""sfu.mixer.frame_clock: even, late and locked ticks."""

import pytest

from sfu.mixer.frame_clock import REACH, SLEW, TARGET, FrameClock


def test_an_even_clock() -> None:
    clock = FrameClock(10.0)
    for number in range(100):
        assert clock.due == pytest.approx(10.0 + number / 30)
        assert clock.begin(clock.due + 0.001) == number
    assert clock.dropped == 0


@pytest.mark.parametrize(("late", "number"), [(0.0, 0), (0.03, 0), (0.034, 1), (0.101, 3), (1.01, 30)])
def test_late_ticks_are_dropped(late: float, number: int) -> None:
    clock = FrameClock(0.0)
    assert clock.begin(late) == number
    assert clock.dropped == number
    assert clock.due == pytest.approx((number + 1) / 30)


@pytest.mark.parametrize("offset", [-0.015, -0.008, 0.0, 0.004, 0.012, 0.015])
def test_a_locked_tick_comes_just_after_the_picture(offset: float) -> None:
    """Pictures are due at `offset` after each even tick."""
    clock = FrameClock(0.0)
    waited = 0.0
    for _ in range(300):
        now = clock.due
        clock.begin(now)
        waited = (now - offset) % clock.period
        clock.steer(waited)
    assert (
        min(abs(waited - TARGET), abs(waited - TARGET - clock.period)) < 0.0005 or abs(offset + TARGET) > REACH - 0.001
    )


def test_the_phase_moves_slowly_and_returns() -> None:
    clock = FrameClock(0.0)
    before = clock.due
    for number in range(1, 200):
        clock.begin(clock.due)
        clock.steer(0.010)
        assert abs(clock.due - before - clock.period) <= SLEW + 1e-9
        assert abs(clock.due - number / 30) <= REACH + 1e-9
        before = clock.due
    for _ in range(100):
        clock.begin(clock.due)
        clock.steer(None)
    assert clock.due == pytest.approx(299 / 30, abs=1e-4)
