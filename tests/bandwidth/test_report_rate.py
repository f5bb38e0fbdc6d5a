"""Rates after series of receiver reports."""

import pytest

from sfu.bandwidth.report_rate import ReportRate

LEAST, START, MOST = 1e5, 1e6, 4e6


def rated(losses: list[float], *, interval: float = 1.0, remb: float = 1e9) -> float:
    reports = ReportRate(START, LEAST, MOST)
    for number, loss in enumerate(losses):
        reports.observe_loss(loss)
        reports.update(remb, 100 + number * interval)
    return reports.rate


@pytest.mark.parametrize(
    ("losses", "rate"),
    [
        ([0.0], START),  # the first report only starts the clock
        ([0.0, 0.0], START * 1.08),
        ([0.0, 0.0, 0.0], START * 1.08**2),
        ([0.0, 0.05], START),
        ([0.0, 0.2], START * 0.9),
        ([0.0, *[0.5] * 20], LEAST),
        ([0.0] * 40, MOST),
    ],
)
def test_rates(losses: list[float], rate: float) -> None:
    assert rated(losses) == pytest.approx(rate)


def test_reports_that_come_too_soon_change_nothing() -> None:
    assert rated([0.0, 0.5, 0.5], interval=0.05) == START


def test_remb_limits_the_rate() -> None:
    assert rated([0.0, 0.0], remb=5e5) == pytest.approx(6e5)


def test_growth_after_a_pause_is_that_of_a_second() -> None:
    assert rated([0.0, 0.0], interval=60.0) == pytest.approx(START * 1.08)


@pytest.mark.parametrize(
    ("loss", "rtts", "uncongested"),
    [
        (0.0, [], True),
        (0.01, [0.1, 0.1], True),
        (0.02, [0.1, 0.1], False),
        (0.0, [0.1, 0.17], True),  # 1.2 × 0.1 s + 0.06 s
        (0.0, [0.1, 0.19], False),
        (0.0, [0.1, *[0.3] * 120], True),  # a path that stays longer
    ],
)
def test_congestion(loss: float, rtts: list[float], uncongested: bool) -> None:
    reports = ReportRate(START, LEAST, MOST)
    for rtt in rtts:
        reports.observe_rtt(rtt)
    reports.observe_loss(loss)
    assert reports.uncongested is uncongested
