"""Rates of packets that arrive behind each other."""

import pytest

from sfu.bandwidth.bottleneck import MIN_QUEUED_PACKETS, measure_bottleneck
from sfu.bandwidth.twcc import TICKS_PER_SECOND

BASE = 5.0


def burst(count: int, gap: float, *, size: int = 1000) -> tuple[list[float], list[int], list[int | None]]:
    """`count` packets sent at once; `gap`: seconds between their arrivals."""
    arrivals: list[int | None] = [round((BASE + 100 + number * gap) * TICKS_PER_SECOND) for number in range(count)]
    return [100.0] * count, [size] * count, arrivals


@pytest.mark.parametrize("gap", [0.008, 0.016])
def test_a_burst_shows_the_rate_of_the_bottleneck(gap: float) -> None:
    rate, longest = measure_bottleneck(*burst(20, gap), BASE)
    assert rate == pytest.approx(8000 / gap)
    assert longest == pytest.approx(19 * gap)


@pytest.mark.parametrize(
    ("count", "gap"),
    [
        (20, 0.0),  # not queued
        (MIN_QUEUED_PACKETS, 0.0125),  # the first one is not queued
        (20, 0.0001),  # not queued for long enough
    ],
)
def test_too_few_queued_packets(count: int, gap: float) -> None:
    assert measure_bottleneck(*burst(count, gap), BASE)[0] == 0.0


def test_lost_and_unknown_packets_do_not_count() -> None:
    times, sizes, ticks = burst(20, 0.008)
    ticks[10] = None
    sizes[12] = 0
    rate, _ = measure_bottleneck(times, sizes, ticks, BASE)
    full, _ = measure_bottleneck(*burst(20, 0.008), BASE)
    queued = 17  # later than 10 ms, without the first of them
    assert rate == pytest.approx(full * (queued - 2) / queued)
