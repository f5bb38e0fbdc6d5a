"""Drops of the rate and the probes that follow."""

import pytest

from sfu.bandwidth.prober import MIN_GAIN
from sfu.bandwidth.rate_recovery import RECOVERY_DECAY, RECOVERY_PERIOD, RECOVERY_RATIO, RateRecovery


@pytest.mark.parametrize(("rate", "drop"), [(0.95e6, False), (0.7e6, False), (0.69e6, True), (0.1e6, True)])
def test_a_large_decrease_is_a_drop(rate: float, drop: bool) -> None:
    recovery = RateRecovery(1e6)
    assert recovery.lowered(rate, 100.0) is drop
    assert recovery.active(100.0) is drop
    assert not recovery.active(100.0 + RECOVERY_PERIOD)


def test_a_drop_is_measured_from_the_best_rate_since_the_last_one() -> None:
    recovery = RateRecovery(1e6)
    recovery.raised(4e6)
    recovery.raised(2e6)
    assert not recovery.lowered(3e6, 100.0)
    assert recovery.lowered(2e6, 101.0)
    assert not recovery.lowered(1.5e6, 102.0), "from 2 Mbit/s now"


@pytest.mark.parametrize(
    ("target", "ceiling", "rate"),
    [
        (3e6, 1e9, RECOVERY_RATIO * 4e6),
        (1e6, 1e9, 1.5e6),  # in steps
        (1e5, 1e9, 1e5 + MIN_GAIN),
        (3e6, 3.1e6, 3.1e6),
    ],
)
def test_rate_to_probe(target: float, ceiling: float, rate: float) -> None:
    recovery = RateRecovery(4e6)
    recovery.lowered(1e6, 100.0)
    assert recovery.rate_to_probe(target, ceiling) == pytest.approx(rate)


@pytest.mark.parametrize(("later", "known"), [(1.0, RECOVERY_DECAY * 4e6), (RECOVERY_PERIOD + 1, 1e6)])
def test_a_second_drop_remembers_a_recent_first(later: float, known: float) -> None:
    recovery = RateRecovery(4e6)
    recovery.lowered(1e6, 100.0)
    assert recovery.lowered(0.1e6, 100.0 + later)
    assert recovery.rate_to_probe(1e9, 1e9) == pytest.approx(RECOVERY_RATIO * known)
