"""Estimator: effect of feedback, REMB, receiver reports and missing feedback on the target.

Behaviour over time: tests/scenarios.
"""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sfu.bandwidth.estimator import WRAP_TICKS, Estimator
from sfu.bandwidth.settings import Settings
from sfu.bandwidth.twcc import Feedback, Recorder, parse_feedback
from tests.support.flow import MediaFlow
from tests.support.network import Link, Network

SETTINGS = Settings(start=1e6)


def steady(
    estimator: Estimator, seconds: float, *, since: float = 0.0, rate: float = 0.8e6, clock: float = 0.0
) -> float:
    """Sends at a constant rate over an uncongested path. The receiver's clock is `clock` ahead. Returns the end time."""
    recorder = Recorder(1)
    number, count = getattr(estimator, "sent_bytes", 0) // 1000, int(rate / 8000 * 0.1)
    now = since
    while now < since + seconds:
        for step in range(count):
            at = now + step * 0.1 / count
            estimator.sent(number & 0xFFFF, [1000], at)
            recorder.record(number & 0xFFFF, at + clock + 0.03)
            number += 1
        now += 0.1
        for packet in recorder.feedback(2):
            estimator.receive_feedback(parse_feedback(packet[12:]), now + 0.05)
        estimator.handle_timer(now)
    return now


def test_an_empty_path_grows_as_far_as_it_is_used() -> None:
    estimator = Estimator(SETTINGS)
    steady(estimator, 5)
    assert estimator.target > 1.1e6
    steady(estimator, 20, since=5)
    assert estimator.target == pytest.approx(1.5 * 0.8e6, rel=0.05)
    assert estimator.acked == pytest.approx(0.8e6, rel=0.1)
    assert estimator.loss == 0
    assert estimator.rtt == pytest.approx(0.06, abs=0.02)


def test_the_receivers_clock_may_wrap() -> None:
    estimator = Estimator(SETTINGS)
    end = steady(estimator, 10, clock=WRAP_TICKS / 4000 - 5)
    assert estimator.target > 1.05e6
    assert estimator.queue_delay < 0.01
    assert end > 5


def test_remb_only_lowers_and_expires() -> None:
    estimator = Estimator(SETTINGS)
    now = steady(estimator, 2)
    before = estimator.target
    estimator.receive_remb(9e6, now)
    assert estimator.target == before
    estimator.receive_remb(0.3e6, now)
    assert estimator.target == 0.3e6
    estimator.handle_timer(now + 11)
    assert estimator.target > 0.3e6


@pytest.mark.parametrize(("loss", "low", "high"), [(0.0, 1.9e6, 2.3e6), (0.05, 1e6, 1e6), (0.2, 0.05e6, 0.5e6)])
def test_without_feedback_reports_set_the_rate(loss: float, low: float, high: float) -> None:
    estimator = Estimator(SETTINGS)
    for second in range(1, 12):
        estimator.receive_report(loss, 0.1, float(second))
    assert low <= estimator.target <= high
    assert estimator.rtt == 0.1


def test_missing_feedback_lowers_the_rate() -> None:
    estimator = Estimator(SETTINGS)
    now = steady(estimator, 2)
    before = estimator.target
    for step in range(100):
        estimator.sent(step + 5000, [1000], now + step * 0.05)
        estimator.handle_timer(now + step * 0.05)
    assert estimator.target < 0.6 * before


def test_an_idle_sender_keeps_its_rate() -> None:
    estimator = Estimator(SETTINGS)
    now = steady(estimator, 2)
    before = estimator.target
    for step in range(100):
        estimator.handle_timer(now + step * 0.05)
    assert estimator.target == before


@given(
    st.lists(
        st.tuples(st.integers(0, 0xFFFF), st.lists(st.none() | st.integers(-1000, 1 << 32), max_size=60)), max_size=20
    )
)
@settings(max_examples=60, deadline=None)
def test_a_feedback_may_claim_anything(claims: list[tuple[int, list[int | None]]]) -> None:
    estimator = Estimator(SETTINGS)
    for index, (base, ticks) in enumerate(claims):
        now = index * 0.1
        estimator.sent(index * 20, [1000] * 20, now)
        estimator.receive_feedback(Feedback(base, 0.0, len(ticks), index & 0xFF, ticks), now + 0.05)
        estimator.handle_timer(now)
        assert SETTINGS.least <= estimator.target <= SETTINGS.most


@pytest.mark.parametrize("loss", [0.03, 0.15])
def test_random_loss_alone_does_not_collapse_the_rate(loss: float) -> None:
    network = Network(1)
    flow = MediaFlow(network, [Link(network, rate=3e6, delay=0.03, loss=loss)], [Link(network, delay=0.03)], most=2e6)
    network.run(25)
    assert flow.rate(15, 25) > 0.5e6
