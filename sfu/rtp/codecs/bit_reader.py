"""Bit reader for H.264 parameter sets, AV1 sequence headers and dependency descriptors."""

from sfu.errors import MalformedPacket


class BitReader:
    """Reads bits from up to a few hundred bytes, most significant bit first. Raises MalformedPacket at the end of the data."""

    __slots__ = ("_left", "_value")

    def __init__(self, data: bytes) -> None:
        self._value = int.from_bytes(data, "big")
        self._left = 8 * len(data)

    def read(self, count: int) -> int:
        left = self._left = self._left - count
        if left < 0:
            raise MalformedPacket("bit field is truncated")
        return self._value >> left & (1 << count) - 1

    def flag(self) -> bool:
        return self.read(1) == 1

    def exp_golomb(self) -> int:
        """ue(v) of ITU-T H.264 9.1, identical to uvlc() of AV1 4.10.3."""
        left = self._left
        rest = self._value & (1 << left) - 1
        zeros = left - rest.bit_length()
        if zeros > 32:
            raise MalformedPacket("Exp-Golomb code is too long")
        left = self._left = left - 2 * zeros - 1
        if left < 0:
            raise MalformedPacket("bit field is truncated")
        return (rest >> left) - 1

    def signed_exp_golomb(self) -> int:
        """se(v) of ITU-T H.264 9.1.1."""
        code = self.exp_golomb()
        return (code + 1) // 2 if code & 1 else -(code // 2)

    def non_symmetric(self, values: int) -> int:
        """ns(n) of AV1 4.10.7: an integer below `values`."""
        width = values.bit_length()
        short = (1 << width) - values
        value = self.read(width - 1)
        if value < short:
            return value
        return (value << 1) - short + self.read(1)
