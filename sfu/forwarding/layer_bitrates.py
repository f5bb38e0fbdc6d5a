"""How many bits per second each encoding and its layers really have: what allocation counts with, measured once for all.

Quickly up and slowly down, so that a layer is not taken for small because its picture stood still for a moment.
"""

from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Final

from sfu.forwarding.allocator import Layer
from sfu.forwarding.encoding import Encoding
from sfu.forwarding.layer_parser import LayerShare, layer_shares
from sfu.forwarding.selector import Size, size_of
from sfu.forwarding.stream import ALL_LAYERS
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
LAYERS_EVERY: Final = 5.0
"""Seconds between looks at what the layers within an encoding cost: encoders keep to shares."""
LAYERS_WEIGHT: Final = 0.3
LOOKS: Final = 2
"""Encodings whose layers are looked at in one call: a look reads 128 packets, and a participant may send 64 streams."""


class LayerBitrates:
    """Measures once a second. `now` is monotonic seconds."""

    __slots__ = ("_known", "_next", "_shares", "_waiting")

    def __init__(self) -> None:
        self._known: dict[Encoding, tuple[int, float, float]] = {}
        """(bytes, when, bits per second; 0: not known yet)."""
        self._next = float("-inf")
        self._shares: dict[Encoding, tuple[float, tuple[LayerShare, ...]]] = {}
        """(when to look again, what was found) of those that somebody watches."""
        self._waiting: dict[Encoding, None] = {}
        """Those whose layers are to be looked at."""

    def measure(self, tracks: Iterable[Track], now: float) -> bool:
        """Call it in every tick. Whether it was time."""
        if now < self._next:
            self._look_at_layers(now)
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
                if track.down_tracks and track.kind == "video" and now >= self._shares.get(encoding, (now,))[0]:
                    self._waiting[encoding] = None
        self._known = found
        if len(self._shares) > len(found):
            self._shares = {encoding: share for encoding, share in self._shares.items() if encoding in found}
        self._look_at_layers(now)
        return True

    def _look_at_layers(self, now: float) -> None:
        known, waiting = self._known, self._waiting
        for encoding in list(islice(waiting, LOOKS)):
            del waiting[encoding]
            if encoding in known:
                self._measure_layers(encoding, now)

    def _measure_layers(self, encoding: Encoding, now: float) -> None:
        before = self._shares.get(encoding, (now, ()))[1]
        after = layer_shares(encoding)
        if after is None:
            self._shares[encoding] = (now + EVERY, before)
            return
        if [share[:2] for share in before] == [share[:2] for share in after]:
            after = tuple([
                new._replace(bytes=was.bytes + LAYERS_WEIGHT * (new.bytes - was.bytes))
                for was, new in zip(before, after, strict=True)
            ])  # fmt: skip
        self._shares[encoding] = (now + LAYERS_EVERY, after)

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
            whole = Layer(encoding.rid, ALL_LAYERS, rate, size.width, size.height, alive_since=encoding.first_arrival)
            _, shares = self._shares.get(encoding, (0.0, ()))
            found += [
                whole._replace(
                    spatial=share.spatial,
                    temporal=share.temporal,
                    bitrate=rate * share.bytes,
                    fps=share.fps,
                    width=size.width if share.spatial == ALL_LAYERS else share.width,
                    height=size.height if share.spatial == ALL_LAYERS else share.height,
                )
                for share in shares
            ] or [whole]
        found.sort(key=lambda layer: (layer.width * layer.height, layer.bitrate))
        highest = 0.0
        for index, layer in enumerate(found):  # a larger picture may cost less for a moment: steps have to rise
            highest = max(highest, layer.bitrate)
            found[index] = layer._replace(bitrate=highest)
        return tuple(found)
