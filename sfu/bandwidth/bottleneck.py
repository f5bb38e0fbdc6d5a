"""Rate of the bottleneck, measured from packets that were queued."""

from collections.abc import Sequence
from typing import Final

from sfu.bandwidth.twcc import TICKS_PER_SECOND

EMPTY_QUEUE_DELAY: Final = 0.01
"""Seconds of delay above the fastest packet from which a packet counts as queued."""
MIN_QUEUED_PACKETS: Final = 5
MIN_QUEUED_TICKS: Final = 100
"""25 ms, longer than one aggregate of a radio link."""


def measure_bottleneck(
    times: Sequence[float], sizes: Sequence[int], ticks: Sequence[int | None], base: float
) -> tuple[float, float]:
    """Arrival rate of the queued packets of one feedback in bits per second, and their longest queue delay in seconds.

    The rate is the speed of the bottleneck, independent of the send rate; 0: too few packets were queued. The smoothed
    acknowledged bitrate reacts too slowly to a keyframe's burst and to a drop of the capacity. `times`: send times;
    `sizes`: 0 for unknown packets; `ticks`: arrivals on the receiver's clock, None for lost packets; `base`: the smallest
    difference between arrival and send time in seconds.
    """
    latest = base + EMPTY_QUEUE_DELAY
    found = [
        (tick, size, tick / TICKS_PER_SECOND - send - base)
        for send, size, tick in zip(times, sizes, ticks, strict=True)
        if tick is not None and size and tick / TICKS_PER_SECOND - send > latest
    ]
    longest = max((wait for _, _, wait in found), default=0.0)
    if len(found) < MIN_QUEUED_PACKETS:
        return 0.0, longest
    first, last = min(found)[0], max(found)[0]
    if last - first < MIN_QUEUED_TICKS:
        return 0.0, longest
    return sum(size for tick, size, _ in found if tick != first) * 8 * TICKS_PER_SECOND / (last - first), longest
