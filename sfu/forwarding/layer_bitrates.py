"""Measured bitrates of all encodings and their layers, for allocation. Measured once for all subscribers.

Estimates rise quickly and fall slowly, so that a moment without motion does not make a layer look small.
"""

from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Final

from sfu.forwarding.allocator import Layer
from sfu.forwarding.encoding import Encoding
from sfu.forwarding.layer_parser import LayerShare, layer_shares
from sfu.forwarding.layers import ALL_LAYERS, Size
from sfu.forwarding.selector import size_of
from sfu.forwarding.track import Track

EVERY: Final = 1.0
"""Seconds between measurements."""
RISE_WEIGHT: Final = 0.3
FALL_WEIGHT: Final = 0.1
"""Weight of a new sample above and below the estimate."""
DEFAULT_BITS: Final = 0.07 * 30
"""Bits per pixel and second of an encoding that is not measured yet, as browsers encode cameras."""
MIN_DEFAULT: Final = 50_000.0
"""Least bits per second of such an encoding."""
FIRST: Final = 1.0
"""Seconds of the first sample, which contains a keyframe."""
LAYERS_EVERY: Final = 5.0
"""Seconds between samples of the layers of an encoding. Encoders keep the shares of their layers stable."""
LAYERS_WEIGHT: Final = 0.3
SAMPLES_PER_CALL: Final = 2
"""Encodings whose layers are sampled in one call: a sample reads 128 packets, and a participant may send 64 streams."""


class LayerBitrates:
    """Measures once a second. `now` is monotonic seconds."""

    __slots__ = ("_known", "_next", "_shares", "_waiting")

    def __init__(self) -> None:
        self._known: dict[Encoding, tuple[int, float, float]] = {}
        """(bytes, time, bits per second; 0: not known yet)."""
        self._next = float("-inf")
        self._shares: dict[Encoding, tuple[float, tuple[LayerShare, ...]]] = {}
        """(time of the next sample, layers) of encodings with down tracks."""
        self._waiting: dict[Encoding, None] = {}
        """Encodings whose layers are due for a sample."""

    def measure(self, tracks: Iterable[Track], now: float) -> bool:
        """Call it every tick. True if the bitrates were measured."""
        if now < self._next:
            self._sample_layers(now)
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
                weight = RISE_WEIGHT if sample > rate else FALL_WEIGHT
                found[encoding] = (encoding.bytes, now, rate + weight * (sample - rate) if rate else sample)
                if track.down_tracks and track.kind == "video" and now >= self._shares.get(encoding, (now,))[0]:
                    self._waiting[encoding] = None
        self._known = found
        if len(self._shares) > len(found):
            self._shares = {encoding: share for encoding, share in self._shares.items() if encoding in found}
        self._sample_layers(now)
        return True

    def _sample_layers(self, now: float) -> None:
        known, waiting = self._known, self._waiting
        for encoding in list(islice(waiting, SAMPLES_PER_CALL)):
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
        """Bits per second of an encoding; 0 if not known yet."""
        known = self._known.get(encoding)
        return known[2] if known is not None else 0.0

    def layers(self, track: Track, declared: Mapping[str, Size]) -> tuple[Layer, ...]:
        """The layers of a track's live encodings, in rising order."""
        found = []
        for encoding in track.encodings.values():
            if not encoding.ssrc or not encoding.alive:
                continue
            size = size_of(encoding, declared)
            rate = self.of(encoding) or max(MIN_DEFAULT, size.width * size.height * DEFAULT_BITS)
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
        for index, layer in enumerate(found):  # a larger picture may have a lower bitrate for a moment
            highest = max(highest, layer.bitrate)
            found[index] = layer._replace(bitrate=highest)
        return tuple(found)
