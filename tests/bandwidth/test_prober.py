"""Probe scheduling, padding and results."""

import pytest

from sfu.bandwidth.prober import PROBE_DURATION, PROBE_INTERVAL, ProbeCluster, Prober, rate_to_probe


@pytest.mark.parametrize(("used", "step", "rate"), [(1e6, 0.5e6, 1.6e6), (1e6, 0.1e6, 1.2e6), (0.0, 0.0, 0.2e6)])
def test_rate_to_probe(used: float, step: float, rate: float) -> None:
    assert rate_to_probe(used, step) == pytest.approx(rate)


def arrived(rate: float, capacity: float, begin: float = 10.0) -> ProbeCluster:
    """A probe cluster of 1000-byte packets, about every 5 ms at `rate`, over a link with `capacity`."""
    probe_cluster = ProbeCluster(rate, begin, 0)
    interval = 8000 / rate
    sends = [begin + n * interval for n in range(int(PROBE_DURATION / interval))]
    ticks, free = [], 0.0
    for send in sends:
        free = max(free, send) + 8000 / capacity
        ticks.append(round((free + 0.05) * 4000))
    probe_cluster.add(sends, [1000] * len(sends), ticks)
    return probe_cluster


@pytest.mark.parametrize(
    ("rate", "capacity", "low", "high"),
    [(1e6, 10e6, 0.9e6, 1.05e6), (2e6, 1e6, 0.85e6, 1.0e6), (1e6, 0.97e6, 0.85e6, 1.0e6)],
)
def test_result(rate: float, capacity: float, low: float, high: float) -> None:
    result = arrived(rate, capacity).result()
    assert result is not None
    assert low <= result <= high


def test_congested_and_lost_probes() -> None:
    probe_cluster = arrived(2e6, 1e6)
    probe_cluster.congested = True
    assert (probe_cluster.result() or 0) < 0.9e6
    empty = ProbeCluster(1e6, 10.0, 0)
    empty.add([10.0, 10.1], [1000, 1000], [None, 5])
    assert empty.result() is None
    early = ProbeCluster(1e6, 10.0, 0)
    early.add([9.9] * 10, [1000] * 10, list(range(0, 1000, 100)))
    assert early.count == 0


def test_padding_fills_the_gap_to_the_probe_rate() -> None:
    probe_cluster = ProbeCluster(1e6, 10.0, 5000)
    assert probe_cluster.padding(5000, 9.9, 0.025) == 0
    assert probe_cluster.padding(5000, 10.0, 0.025) == 3125
    assert probe_cluster.padding(8000, 10.0, 0.025) == 125
    assert probe_cluster.padding(99_999, 10.1, 0.025) == 0
    assert probe_cluster.padding(5000, 10.19, 0.025) == 25_000
    assert probe_cluster.padding(5000, 10.2, 0.025) == 0


def ask(prober: Prober, now: float, *, target: float = 1e6, desired_rate: float = 1.5e6) -> ProbeCluster | None:
    return prober.handle_timer(now, target=target, desired_rate=desired_rate, ceiling=10e6, sent=0, start=0.3e6)


def test_the_first_probes_are_large_and_later_ones_wait() -> None:
    prober = Prober()
    first = ask(prober, 0.0, target=0.3e6)
    assert first is not None
    assert first.rate == pytest.approx(0.9e6)
    assert ask(prober, 0.1) is None  # one probe at a time
    assert prober.take_result(0.3, 0.05) is None
    assert prober.take_result(0.46, 0.05) is first  # nothing arrived
    assert ask(prober, 1.0) is None
    assert ask(prober, 0.46 + PROBE_INTERVAL) is not None


def test_no_probe_without_a_possible_gain() -> None:
    assert ask(Prober(), 0.0, desired_rate=0.0) is None
    assert ask(Prober(), 0.0, target=2e6) is None


def test_failures_back_off_and_success_continues_at_once() -> None:
    prober = Prober()
    now, waits = 100.0, []
    prober.on_rate_drop(now)
    for _ in range(12):
        begun = now
        while ask(prober, now) is None:
            now += 0.1
        waits.append(now - begun)
        prober.congested(now + 0.1)
        now += 1.0
        assert prober.take_result(now, 0.05) is not None
    assert waits[0] == pytest.approx(PROBE_INTERVAL, abs=0.2)
    assert waits == sorted(waits)
    assert waits[-1] < 30  # the path became worse two minutes ago and may recover soon
    now += 200
    probe_cluster = ask(prober, now)
    assert probe_cluster is not None
    interval = 8000 / probe_cluster.rate
    sends = [now + n * interval for n in range(int(PROBE_DURATION / interval))]
    probe_cluster.add(sends, [1000] * len(sends), [round(send * 4000) for send in sends])
    assert prober.take_result(now + 1, 0.05) is probe_cluster
    assert ask(prober, now + 1) is not None
