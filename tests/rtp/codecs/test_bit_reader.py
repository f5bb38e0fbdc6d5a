"""Bit reader."""

import pytest

from sfu.errors import MalformedPacket
from sfu.rtp.codecs.bit_reader import BitReader


def test_reading() -> None:
    bits = BitReader(b"\xa5\x0f")
    assert [bits.read(1), bits.read(3), bits.flag(), bits.read(0), bits.read(11)] == [1, 2, False, 0, 0x50F]
    with pytest.raises(MalformedPacket):
        bits.read(1)


@pytest.mark.parametrize(
    ("code", "unsigned", "signed"),
    [("1", 0, 0), ("010", 1, 1), ("011", 2, -1), ("00100", 3, 2), ("00111", 6, -3), ("000011111", 30, -15)],
)
def test_exp_golomb(code: str, unsigned: int, signed: int) -> None:
    data = int(code.ljust(16, "0"), 2).to_bytes(2, "big")
    assert BitReader(data).exp_golomb() == unsigned
    assert BitReader(data).signed_exp_golomb() == signed


def test_endless_exp_golomb() -> None:
    with pytest.raises(MalformedPacket):
        BitReader(bytes(100)).exp_golomb()


@pytest.mark.parametrize(
    ("values", "codes"),
    [(1, [""]), (2, ["0", "1"]), (3, ["0", "10", "11"]), (5, ["00", "01", "10", "110", "111"])],
)
def test_non_symmetric(values: int, codes: list[str]) -> None:
    for value, code in enumerate(codes):
        assert BitReader(int(code.ljust(8, "0"), 2).to_bytes(1, "big")).non_symmetric(values) == value
