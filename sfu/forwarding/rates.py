"""How many bits per second each encoding really has: what allocation counts with, measured once for all subscribers.

Quickly up and slowly down, so that a layer is not taken for small because its picture stood still for a moment.
"""

from collections.abc import Iterable, Mapping
from typing import Final

from sfu.forwarding.allocator import Layer
from sfu.forwarding.encoding import Encoding
from sfu.forwarding.selector import Size, size_of
from sfu.forwarding.track import Track

EVERY: Final = 1.0
"""Seconds between measurements."""
UP: Final = 0.3
DOWN: Final = 0.1
GUESS: Final = 0.07 * 30
"""Bits per pixel and second of a picture that was not measured yet, as browsers encode cameras."""
SMALLEST_GUESS: Final = 50_000.0
FIRST: Final = 1.0
"""Seconds of which the first value is taken: it begins with a keyframe."""


class Rates:
    """Measures once a second. `now` is monotonic seconds."""

    __slots__ = ("_known", "_next")

    def __init__(self) -> None:
        self._known: dict[Encoding, tuple[int, float, float]] = {}
        """(bytes, when, bits per second; 0: not known yet)."""
        self._next = float("-inf")

    def measure(self, tracks: Iterable[Track], now: float) -> bool:
        """Whether it was time."""
        if now < self._next:
            return False
        self._next = now + EVERY
        known = self._known
        found: dict[Encoding, tuple[int, float, float]] = {}
        for track in tracks:
            for encoding in track.encodings.values():
                if not encoding.ssrc:
                    continue
                before = known.get(encoding)
                if before is None or not encoding.alive:
                    found[encoding] = (encoding.bytes, now, before[2] if before is not None else 0.0)
                    continue
                size, since, rate = before
                if not rate and now - since < FIRST:
                    found[encoding] = before
                    continue
                sample = (encoding.bytes - size) * 8 / (now - since) if now > since else rate
                weight = UP if sample > rate else DOWN
                found[encoding] = (encoding.bytes, now, rate + weight * (sample - rate) if rate else sample)
        self._known = found
        return True

    def of(self, encoding: Encoding) -> float:
        """Bits per second; 0: not known yet."""
        known = self._known.get(encoding)
        return known[2] if known is not None else 0.0

    def layers(self, track: Track, declared: Mapping[str, Size]) -> tuple[Layer, ...]:
        """What a track could be sent as: its encodings that are alive, rising."""
        found = []
        for encoding in track.encodings.values():
            if not encoding.ssrc or not encoding.alive:
                continue
            size = size_of(encoding, declared)
            rate = self.of(encoding) or max(SMALLEST_GUESS, size.width * size.height * GUESS)
            found.append(Layer(encoding.rid, 0, rate, size.width, size.height, alive_since=encoding.first_arrival))
        found.sort(key=lambda layer: (layer.width * layer.height, layer.bitrate))
        highest = 0.0
        for index, layer in enumerate(found):  # a larger picture may cost less for a moment: steps have to rise
            highest = max(highest, layer.bitrate)
            found[index] = layer._replace(bitrate=highest)
        return tuple(found)
