"""Packet groups and their deltas."""

import pytest

from sfu.bandwidth.inter_arrival import InterArrival

Packet = tuple[float, int | None]
"""(sent in seconds, arrived in ticks of 250 µs)."""


@pytest.mark.parametrize(
    ("packets", "deltas"),
    [
        ([(1.0, 0), (1.010, 40), (1.020, 80), (1.030, 120)], [(10, 10), (10, 10)]),
        ([(1.0, 0), (1.0, 4), (1.004, 8), (1.010, 48), (1.020, 88)], [(6, 10)]),  # sent within 5 ms: one group
        ([(1.0, 0), (1.010, None), (1.020, 80), (1.030, 120)], [(20, 20)]),  # lost packets are ignored
        ([(1.0, 0), (0.0, 20), (1.020, 80), (1.030, 120)], [(20, 20)]),  # unknown packets too
        (
            [(1.0, 0), (1.010, 40), (1.020, 60), (1.040, 140), (1.060, 220)],
            [(20, 15), (20, 20)],
        ),  # arrives within 5 ms: a burst
        ([(1.0, 0), (1.010, 40), (1.005, 44), (1.030, 120)], [(10, 10)]),  # reordered
        ([(1.0, 0), (1.1, 400), (5.0, 16_000), (5.1, 16_400)], [(100, 100)]),  # a pause is not a delay
    ],
)
def test_deltas(packets: list[Packet], deltas: list[tuple[int, int]]) -> None:
    sends, ticks = zip(*packets, strict=True)
    found = InterArrival().add(sends, ticks)
    assert [(round(sent), round(arrived)) for sent, arrived, _ in found] == deltas
    one_by_one = InterArrival()
    again = [each for send, tick in packets for each in one_by_one.add([send], [tick])]
    assert again == found


def test_a_receiver_clock_that_steps_back_restarts_the_groups() -> None:
    arrivals = InterArrival()
    sends = [1 + 0.01 * n for n in range(30)]
    ticks = [100_000 + 40 * n if n < 10 else 40 * n for n in range(30)]
    found = arrivals.add(sends, ticks)
    assert {(round(sent), round(arrived)) for sent, arrived, _ in found} == {(10, 10)}
    assert len(found) > 20
