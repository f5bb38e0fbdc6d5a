"""Which encoding of a track fits a wish best. A pure choice over what is alive; allocation by bandwidth comes above it.

The smallest encoding that fills the tile is chosen; when none does, the largest. One that has just started is taken only
when there is no other: encoders ramp up, and a layer that dies again at once would cost two keyframes (mediasoup waits
2 s, LiveKit for 20 good cycles of 500 ms; 1 s proved enough with Chromium).
"""

from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from sfu.forwarding.encoding import Encoding
from sfu.forwarding.stream import Stream

SETTLE: Final = 1.0
"""Seconds an encoding has to be alive before it is switched up to."""
FILL: Final = 0.85
"""A picture of this share of the tile's height looks as good as a full one."""


class Size(NamedTuple):
    """Declared pixels of a layer, used until a keyframe says better."""

    width: int
    height: int


def choose(
    encodings: Iterable[Encoding],
    declared: Mapping[str, Size],
    width: int,
    height: int,
    current: Stream | None,
    now: float,
) -> Encoding | None:
    """The best encoding for a tile of `width` × `height` pixels (0: no limit); None when nothing is alive."""
    had = current.origin if current is not None else None
    alive = [encoding for encoding in encodings if encoding.alive and encoding.ssrc]
    if not alive:
        return None
    settled = [e for e in alive if e is had or now - e.first_arrival >= SETTLE]
    if not settled:
        return had if had in alive else max(alive, key=lambda e: _area(e, declared))
    ordered = sorted(settled, key=lambda e: _area(e, declared))
    if not width and not height:
        return ordered[-1]
    for encoding in ordered:
        if fills(size_of(encoding, declared), width, height):
            return encoding
    return ordered[-1]


def fills(size: Size, width: int, height: int) -> bool:
    """Whether a layer of this size is all that a tile can show; one of unknown size is. A tile of 0 × 0 has no limit."""
    if not width and not height:
        return False
    if not size.height or (size.width >= FILL * width and size.height >= FILL * height):
        return True
    # a tile is filled when one side is: pictures keep their shape
    return bool(width and size.width >= width) or bool(height and size.height >= height)


def size_of(encoding: Encoding, declared: Mapping[str, Size]) -> Size:
    """What the last keyframe said, else what the publisher declared."""
    if encoding.height:
        return Size(encoding.width, encoding.height)
    return declared.get(encoding.rid, Size(0, 0))


def _area(encoding: Encoding, declared: Mapping[str, Size]) -> tuple[int, int]:
    size = size_of(encoding, declared)
    order = list(declared).index(encoding.rid) if encoding.rid in declared else 0
    return size.width * size.height, order
