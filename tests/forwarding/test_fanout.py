import pytest

from sfu.forwarding.fanout import MAX_SEGMENTS, gso_batches
from sfu.forwarding.packet import Packet


def packet(size: int, *, padded: bool = False) -> Packet:
    return Packet(0xB000 if padded else 0x9000, 1, 1, 0, b"x" * (size - 22), size, 0, 0, None, False)


@pytest.mark.parametrize(
    ("sizes", "equalise", "grouped"),
    [
        ([100], False, [[100]]),
        ([100, 100, 100], False, [[100, 100, 100]]),
        ([100, 100, 50], False, [[100, 100, 50]]),
        ([100, 50, 100], False, [[100, 50], [100]]),
        ([50, 100], False, [[50], [100]]),
        ([99, 100, 99], True, [[100, 100, 100]]),
        ([80, 100], True, [[80], [100]]),
        ([100] * (MAX_SEGMENTS + 1), False, [[100] * MAX_SEGMENTS, [100]]),
    ],
)
def test_runs_are_equal_but_for_the_last(sizes: list[int], equalise: bool, grouped: list[list[int]]) -> None:
    out = gso_batches([packet(size) for size in sizes], True, equalise)
    assert [[each.size for each in packets] for _, packets in out] == grouped
    assert all(size == packets[0].size for size, packets in out)


def test_padding_says_its_length_and_is_not_added_twice() -> None:
    ((_, (first, second)),) = gso_batches([packet(95), packet(100)], True, True)
    assert first.first == 0xB000
    assert first.tail[-5:] == b"\0\0\0\0\5"
    assert len(first.tail) == 100 - 22
    assert second.first == 0x9000
    assert [each.size for _, (each,) in gso_batches([packet(95, padded=True), packet(100)], True, True)] == [95, 100]


def test_without_segmentation_every_packet_goes_alone() -> None:
    assert [len(packets) for _, packets in gso_batches([packet(100)] * 3, False, True)] == [1, 1, 1]
