"""Tests of redundant audio: its amount by loss, and its format."""

import pytest

from sfu.forwarding.packet import Packet
from sfu.forwarding.redundancy import Redundancy, with_redundancy
from sfu.rtp import red

OPUS, EXTRA = 111, b"\x10\x55\x00\x00"


def sound(sequence: int, payload: bytes, timestamp: int | None = None, *, padded: int = 0) -> Packet:
    tail = EXTRA + payload + (bytes(padded - 1) + bytes([padded]) if padded else b"")
    first = 0x9000 | (0x2000 if padded else 0)
    at = sequence * 960 if timestamp is None else timestamp
    return Packet(first, sequence & 0xFFFF, at & 0xFFFFFFFF, 0, tail, 22 + len(tail), 0, len(EXTRA), None, True)


def blocks(packet: Packet) -> list[tuple[int, int, bytes]]:
    """(payload type, how much older, payload) of each block, the primary one last."""
    tail = packet.tail
    found = [
        (each.payload_type, each.timestamp_offset, tail[each.start : each.end])
        for each in red.redundant(tail, packet.extension_size, len(tail))
    ]
    payload_type, start, end = red.primary(tail, packet.extension_size, len(tail))
    return [*found, (payload_type, 0, tail[start:end])]


def test_each_packet_carries_those_before_it() -> None:
    history = {number: sound(number, b"sound %d" % number) for number in range(5)}
    (made,) = with_redundancy([history[4]], 2, OPUS, history.get)
    assert blocks(made) == [(OPUS, 1920, b"sound 2"), (OPUS, 960, b"sound 3"), (OPUS, 0, b"sound 4")]
    assert made.codec_index == 1
    assert made.size == 22 + len(made.tail)
    assert made.tail.startswith(EXTRA)


def test_packets_lost_on_the_uplink_are_left_out() -> None:
    history = {1: sound(1, b"one"), 3: sound(3, b"three")}
    (made,) = with_redundancy([history[3]], 2, OPUS, history.get)
    assert blocks(made) == [(OPUS, 1920, b"one"), (OPUS, 0, b"three")]


def test_numbers_and_times_wrap() -> None:
    history = {0xFFFF: sound(0xFFFF, b"before", 0xFFFFFF00), 0: sound(0x10000, b"after", 0xFFFFFF00 + 960)}
    (made,) = with_redundancy([history[0]], 1, OPUS, history.get)
    assert blocks(made) == [(OPUS, 960, b"before"), (OPUS, 0, b"after")]


@pytest.mark.parametrize(
    "before",
    [
        sound(1, b"long ago", 2 * 960 - 16_384),
        sound(1, bytes(1001)),
        sound(1, b"from the future", 3 * 960),
    ],
    ids=["after a silence", "too large", "a timestamp that goes back"],
)
def test_packets_that_red_cannot_carry_are_left_out(before: Packet) -> None:
    (made,) = with_redundancy([sound(2, b"now")], 1, OPUS, {1: before}.get)
    assert blocks(made) == [(OPUS, 0, b"now")]


def test_redundancy_of_the_publisher_is_replaced() -> None:
    history = {number: sound(number, b"sound %d" % number) for number in range(5)}
    sent = {number: with_redundancy([packet], 1, 96, history.get)[0] for number, packet in history.items()}
    (made,) = with_redundancy([sent[4]], 2, OPUS, sent.get)
    assert blocks(made) == [(OPUS, 1920, b"sound 2"), (OPUS, 960, b"sound 3"), (OPUS, 0, b"sound 4")]


def test_padding_is_no_sound() -> None:
    history = {1: sound(1, b"one", padded=4), 2: sound(2, b"two", padded=3)}
    (made,) = with_redundancy([history[2]], 1, OPUS, history.get)
    assert blocks(made) == [(OPUS, 960, b"one"), (OPUS, 0, b"two")]
    assert not made.first & 0x2000


def test_broken_redundancy_of_a_publisher_goes_as_it_came() -> None:
    broken = sound(1, b"\xff\xff")._replace(codec_index=1)
    history: dict[int, Packet] = {}
    assert with_redundancy([broken], 1, OPUS, history.get) == [broken]


def test_the_level_follows_the_loss_up_at_once_and_down_slowly() -> None:
    redundancy = Redundancy()
    seen = []
    for now, loss in [(0, 0.0), (1, 0.019), (2, 0.02), (3, 0.2), (4, 0.05), (13, 0.05), (14, 0.05), (15, 0.05), (20, 0.01),
                      (26, 0.02), (27, 0.0), (36, 0.0), (37, 0.0)]:  # fmt: skip
        redundancy.update(loss, now)
        seen.append(redundancy.level)
    assert seen == [0, 0, 1, 2, 2, 2, 1, 1, 1, 1, 1, 1, 0]
