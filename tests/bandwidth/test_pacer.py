"""Pacer: spreads bursts, never delays audio, limits the queueing time."""

import pytest

from sfu.bandwidth.pacer import COUNT_LIMIT, FACTOR, Pacer


def test_a_paced_stream_passes_untouched() -> None:
    pacer: Pacer[int] = Pacer(1e6, 0.0)
    assert all(pacer.push(n, 1200, n * 0.01) for n in range(500))
    assert pacer.due(9.0) == []


def test_a_keyframe_leaves_at_a_multiple_of_the_target_in_order() -> None:
    pacer: Pacer[int] = Pacer(1e6, 0.0)
    out = [n for n in range(100) if pacer.push(n, 1200, 0.0)]
    assert 0 < len(out) < 20
    now, sent_at = 0.0, {}
    while pacer.queued_bytes:
        deadline = pacer.next_deadline(now)
        assert deadline is not None
        now = max(now + 0.001, deadline)
        for item in pacer.due(now):
            out.append(item)
            sent_at[item] = now
    assert out == list(range(100))
    assert now == pytest.approx(100 * 1200 * 8 / (1e6 * FACTOR), rel=0.3)
    assert pacer.next_deadline(now) is None


def test_packets_leave_at_the_queue_limit() -> None:
    pacer: Pacer[int] = Pacer(50e3, 0.0)
    for n in range(200):
        pacer.push(n, 1200, 0.0)
    assert len(pacer.due(0.1)) <= 2
    assert len(pacer.due(0.51)) > 150  # the limit is half a second


def test_audio_uses_the_budget_and_never_waits() -> None:
    pacer: Pacer[int] = Pacer(100e3, 0.0)
    for _ in range(20):
        pacer.pass_audio(1000, 0.0)
    assert not pacer.push(1, 1000, 0.0)


def test_the_queue_is_bounded() -> None:
    pacer: Pacer[int] = Pacer(1.0, 0.0)
    for n in range(COUNT_LIMIT + 100):
        pacer.push(n, 30_000, 0.0)
    assert pacer.dropped > 0
    pacer.set_target(1e6)
    pacer.clear()
    assert (pacer.queued_bytes, pacer.due(9.0)) == (0, [])
