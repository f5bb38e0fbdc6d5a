"""Sixteen-bit sequence numbers: their distance on the circle, and how they become numbers that only grow.

RFC 3550 appendix A.1 and RFC 1982: of two ways round the circle the shorter one is meant.
"""


def difference(a: int, b: int) -> int:
    """How far `a` is ahead of `b`, in −32768 … 32767."""
    return ((a - b + 0x8000) & 0xFFFF) - 0x8000


def is_newer(a: int, b: int) -> bool:
    """Whether `a` comes after `b`."""
    return 0 < (a - b) & 0xFFFF < 0x8000


class SequenceUnwrapper:
    """Turns 16-bit numbers into unbounded ones, by their distance to the highest one seen.

    The first number is taken as it is; an earlier one may so become negative.
    """

    __slots__ = ("highest",)

    def __init__(self) -> None:
        self.highest = -1

    def unwrap(self, number: int) -> int:
        highest = self.highest
        if highest == -1:
            self.highest = number
            return number
        unwrapped = highest + ((number - highest + 0x8000) & 0xFFFF) - 0x8000
        if unwrapped > highest:
            self.highest = unwrapped
        return unwrapped
