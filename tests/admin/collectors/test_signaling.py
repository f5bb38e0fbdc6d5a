"""Metrics from given statistics of signalling."""

from collections import Counter

import pytest

from sfu.admin.collectors.signaling import SignalingCollector
from sfu.forwarding.decision_log import Cause, DecisionKind
from sfu.forwarding.loop_budget import make_unauthenticated_budget
from sfu.signaling.context import Counters
from sfu.signaling.server import Statistics
from sfu.telemetry.join_trace import JoinTraces
from tests.support.metrics import Samples, samples

COUNTERS = Counters(
    received=29,
    refused=48,
    rate_limited=31,
    invalid=49,
    violations=50,
    joins=5,
    resumes=32,
    overloads=58,
    decisions=Counter({(DecisionKind.LAYER_DOWN, Cause.BUDGET): 60}),
)
COUNTERS.client_stats.rtt.observe(0.05)
COUNTERS.client_stats.jitter.observe(0.01)
COUNTERS.client_stats.loss.observe(0.1)
COUNTERS.client_stats.freezes, COUNTERS.client_stats.frozen = 51, 52.5
STATISTICS = Statistics(
    sockets=8,
    sessions=7,
    http_sessions={"whip": 3},
    waiting=6,
    messages_sent=30,
    frames_sent=20,
    loop_seconds={"media": 56.0, "signaling": 1.5},
    throttled={"signaling": 57},
    counters=COUNTERS,
)


@pytest.fixture(scope="module")
def shown() -> Samples:
    traces, budget = JoinTraces(), make_unauthenticated_budget()
    traces.first_picture.observe(0.5)
    traces.negotiation.observe(0.1)
    return samples(SignalingCollector(lambda: STATISTICS, traces, budget))


@pytest.mark.parametrize(
    ("name", "labels", "value"),
    [
        ("sfu_participants_joined_total", (), 5),
        ("sfu_participants_waiting", (), 6),
        ("sfu_sessions", (), 7),
        ("sfu_signaling_sockets", (), 8),
        ("sfu_sessions_resumed_total", (), 32),
        ("sfu_signaling_messages_total", ("received",), 29),
        ("sfu_signaling_messages_total", ("sent",), 30),
        ("sfu_signaling_refused_total", ("request",), 48),
        ("sfu_signaling_refused_total", ("unreadable",), 49),
        ("sfu_signaling_refused_total", ("protocol",), 50),
        ("sfu_signaling_rate_limited_total", (), 31),
        ("sfu_decisions_total", ("budget", "layer_down"), 60),
        ("sfu_client_rtt_seconds_sum", (), 0.05),
        ("sfu_client_jitter_seconds_sum", (), 0.01),
        ("sfu_client_loss_ratio_sum", (), 0.1),
        ("sfu_client_freezes_total", (), 51),
        ("sfu_client_frozen_seconds_total", (), 52.5),
        ("sfu_first_picture_seconds_sum", (), 0.5),
        ("sfu_negotiation_seconds_sum", (), 0.1),
        ("sfu_loop_budget_seconds_total", ("media",), 56),
        ("sfu_loop_budget_seconds_total", ("signaling",), 1.5),
        ("sfu_loop_budget_seconds_total", ("unauthenticated",), 0),
        ("sfu_loop_budget_throttled_total", ("signaling",), 57),
        ("sfu_loop_budget_throttled_total", ("unauthenticated",), 0),
        ("sfu_loop_budget_disconnects_total", (), 58),
    ],
)
def test_values(shown: Samples, name: str, labels: tuple[str, ...], value: float) -> None:
    assert shown[name, labels] == value
