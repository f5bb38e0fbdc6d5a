"""Arithmetic for 16-bit sequence numbers: circular distance and unwrapping.

RFC 3550 appendix A.1 and RFC 1982: the shorter way around the circle applies.
"""


def difference(a: int, b: int) -> int:
    """Distance by which `a` is ahead of `b`, in −32768 … 32767."""
    return ((a - b + 0x8000) & 0xFFFF) - 0x8000


def is_newer(a: int, b: int) -> bool:
    return 0 < (a - b) & 0xFFFF < 0x8000


class SequenceUnwrapper:
    """Unwraps 16-bit numbers, relative to the highest number so far.

    The first number stays unchanged, so an earlier one may become negative.
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
