"""Tests of the decision log: entries, rate limits and totals."""

from collections import Counter

import pytest

from sfu.bandwidth.settings import Settings
from sfu.forwarding.allocator import AllocationReason, Layer, LayerRequest
from sfu.forwarding.decision_log import BOUNDS, KEPT, Cause, DecisionKind, DecisionLog, DownlinkLogger, LossLogger
from sfu.forwarding.downlink import Downlink

LAYERS = (Layer("q", 0, 150e3, 320, 180), Layer("h", 0, 500e3, 640, 360), Layer("f", 0, 1.4e6, 1280, 720))


def kinds(decision_log: DecisionLog) -> list[str]:
    return [f"{entry.kind.value} {entry.cause.value}" for entry in decision_log]


def test_a_diary_keeps_the_newest_and_numbers_all() -> None:
    decision_log = DecisionLog()
    for second in range(100):
        decision_log.write(10.0 * second, DecisionKind.KEYFRAME, Cause.VIEWER, track=f"TR_{second}")
    assert len(list(decision_log)) == KEPT
    assert [entry.number for entry in decision_log] == list(range(37, 101))
    assert decision_log.newest == 100
    assert [entry.track for entry in decision_log.since(98)] == ["TR_98", "TR_99"]
    assert decision_log.since(100) == []
    assert len(decision_log.since(0)) == KEPT


@pytest.mark.parametrize("kind", DecisionKind)
def test_entries_above_the_rate_are_counted_and_not_kept(kind: DecisionKind) -> None:
    totals: Counter[tuple[DecisionKind, Cause]] = Counter()
    decision_log, other = DecisionLog(totals), DecisionLog(totals)
    rate, burst = BOUNDS[kind]
    for _ in range(200):
        decision_log.write(5.0, kind, Cause.REQUESTED)
    other.write(5.0, kind, Cause.REQUESTED)
    assert decision_log.newest == burst
    assert decision_log.revision == 200
    assert totals == {(kind, Cause.REQUESTED): 201}
    decision_log.write(5.0 + 2 / rate, kind, Cause.REQUESTED)
    decision_log.write(5.0 + 2 / rate, kind, Cause.REQUESTED)
    decision_log.write(5.0 + 2 / rate, kind, Cause.REQUESTED)
    assert decision_log.newest == burst + 2


def test_one_kind_does_not_displace_another_and_repeats_count_once() -> None:
    totals: Counter[tuple[DecisionKind, Cause]] = Counter()
    decision_log = DecisionLog(totals)
    for _ in range(50):
        decision_log.write(1.0, DecisionKind.KEYFRAME, Cause.RETRY, counted=False)
    decision_log.write(1.0, DecisionKind.PAUSED, Cause.BUDGET, track="TR_a", before=360, rate=90e3)
    assert kinds(decision_log) == ["keyframe retry"] * 4 + ["paused budget"]
    assert totals == {(DecisionKind.PAUSED, Cause.BUDGET): 1}


def test_every_reason_of_the_allocator_and_the_policy_has_a_cause() -> None:
    assert {Cause(reason.value) for reason in AllocationReason}
    assert [Cause(word) for word in ("estimate", "delay", "loss")] == [Cause.ESTIMATE, Cause.DELAY, Cause.LOSS]


@pytest.mark.parametrize(
    ("shares", "written"),
    [
        ([0.0, 0.01, 0.05], []),
        ([0.06, 0.2, 0.04, 0.03], [(0.0, 0.06)]),
        ([0.06, 0.06, 0.02], [(0.0, 0.06), (0.06, 0.02)]),
        ([0.06, 0.0, 0.06, 0.0], [(0.0, 0.06), (0.06, 0.0), (0.0, 0.06), (0.06, 0.0)]),
    ],
    ids=["little is none", "begins once", "is over once", "comes and goes"],
)
def test_loss_is_a_crossing(shares: list[float], written: list[tuple[float, float]]) -> None:
    decision_log, watch = DecisionLog(), LossLogger(0.05, Cause.SENDING)
    for second, share in enumerate(shares):
        watch.update(decision_log, share, float(second))
    assert [(entry.before, entry.after) for entry in decision_log] == written


def path(start: float) -> Downlink:
    made = Downlink(Settings(start=start), lambda key: LAYERS, 0.0)
    made.requests["cam"] = LayerRequest("cam", "video")
    return made


def test_a_path_that_falls_is_logged_with_its_tier() -> None:
    decision_log, watch, downlink = DecisionLog(), DownlinkLogger(0.05), path(4e6)
    for tick in range(60):
        downlink.handle_timer(tick / 20)
        watch.update(decision_log, downlink, tick / 20)
    assert kinds(decision_log) == []
    downlink.receive_remb(0.5e6, 3.0)
    for tick in range(60, 120):
        downlink.handle_timer(tick / 20)
        watch.update(decision_log, downlink, tick / 20)
    assert kinds(decision_log) == ["estimate estimate", "tier estimate"]
    estimate, tier = decision_log
    assert (estimate.before, estimate.after, estimate.rate) == (4e6, 0.5e6, 0.5e6)
    assert (tier.before, tier.after) == (1080, 480)
    assert estimate.at < tier.at


@pytest.mark.parametrize(
    ("estimates", "written"),
    [
        ([(0, 1e6), (1, 0.8e6), (2, 1.4e6)], []),
        ([(0, 1e6), (1, 0.7e6), (6, 0.7e6)], [0.7e6]),
        ([(0, 1e6), (1, 0.4e6)], [0.4e6]),
        ([(0, 1e6), (6, 2e6), (7, 4e6), (12, 4e6)], [2e6, 4e6]),
    ],
    ids=["a little", "not so soon", "half at once", "upwards"],
)
def test_an_estimate_is_logged_when_it_is_notable(estimates: list[tuple[float, float]], written: list[float]) -> None:
    decision_log, watch, downlink = DecisionLog(), DownlinkLogger(0.05), path(20e6)
    for now, estimate in estimates:
        downlink.receive_remb(estimate, now)
        watch.update(decision_log, downlink, now)
    assert [entry.after for entry in decision_log] == written
