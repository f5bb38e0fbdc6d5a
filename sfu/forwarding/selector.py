"""Chooses the encoding of a track that fits a tile best, without regard to bandwidth.

The smallest live encoding that fills the tile wins; if none fills it, the largest. An encoding that has just started is
chosen only if there is no other: encoders ramp up, and an encoding that ends again at once would cost two keyframes
(mediasoup waits 2 s, LiveKit for 20 good cycles of 500 ms; 1 s proved enough with Chromium).
"""

from collections.abc import Iterable, Mapping
from typing import Final

from sfu.forwarding.down_track import RtpStream
from sfu.forwarding.encoding import Encoding
from sfu.forwarding.layers import Size, fills

SETTLE: Final = 1.0
"""Seconds that an encoding has to be alive before a subscriber switches up to it."""


def choose(
    encodings: Iterable[Encoding],
    declared: Mapping[str, Size],
    width: int,
    height: int,
    current: RtpStream | None,
    now: float,
) -> Encoding | None:
    """The best encoding for a tile of `width` × `height` pixels (0: no limit); None if no encoding is alive."""
    had = current.origin if current is not None else None
    alive = [encoding for encoding in encodings if encoding.alive and encoding.ssrc]
    if not alive:
        return None
    settled = [e for e in alive if e is had or now - e.first_arrival >= SETTLE]
    if not settled:
        return max(alive, key=lambda e: _area(e, declared))
    ordered = sorted(settled, key=lambda e: _area(e, declared))
    if not width and not height:
        return ordered[-1]
    for encoding in ordered:
        if fills(size_of(encoding, declared), width, height):
            return encoding
    return ordered[-1]


def live_height(encodings: Iterable[Encoding], declared: Mapping[str, Size]) -> int:
    """Height of the largest live encoding; 0 if there is none."""
    live = (encoding for encoding in encodings if encoding.ssrc and encoding.alive)
    return max((size_of(encoding, declared).height for encoding in live), default=0)


def size_of(encoding: Encoding, declared: Mapping[str, Size]) -> Size:
    """The size in the last keyframe, else the size that the publisher declared."""
    if encoding.height:
        return Size(encoding.width, encoding.height)
    return declared.get(encoding.rid, Size(0, 0))


def _area(encoding: Encoding, declared: Mapping[str, Size]) -> tuple[int, int]:
    size = size_of(encoding, declared)
    order = list(declared).index(encoding.rid) if encoding.rid in declared else 0
    return size.width * size.height, order
