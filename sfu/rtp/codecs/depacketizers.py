"""Depacketizers: join the payloads of one picture's packets into the coded picture that a decoder expects.

One strategy per codec; none of them decodes pictures. VP8: RFC 7741. VP9: RFC 9628 and annex B of its bitstream
specification (superframes). H.264: RFC 6184 to ITU-T H.264 annex B. AV1: RTP Payload Format version 1.0.0, section 4,
to the low-overhead bitstream format (AV1 5.2).
"""

from collections.abc import Callable, Sequence
from typing import Protocol

from sfu.errors import MalformedPacket
from sfu.rtp.codecs import av1, h264, vp8, vp9
from sfu.rtp.codecs.bit_reader import BitReader

ALL_LAYERS = 7


class Depacketizer(Protocol):
    """Depacketizer of one stream. `spatial` may be lowered at any time; higher spatial layers are then dropped."""

    spatial: int

    def begins_keyframe(self, payload: bytes) -> bool:
        """Raises MalformedPacket."""

    def join(self, payloads: Sequence[bytes]) -> bytes:
        """Joins the complete, ordered payloads of one picture, which `begins_keyframe` has accepted. Empty: nothing to show.

        Raises MalformedPacket.
        """


class Vp8Depacketizer:
    __slots__ = ("spatial",)

    def __init__(self) -> None:
        self.spatial = ALL_LAYERS

    def begins_keyframe(self, payload: bytes) -> bool:
        return vp8.describe(payload, 0, len(payload)).keyframe

    def join(self, payloads: Sequence[bytes]) -> bytes:
        return b"".join([payload[vp8.payload_start(payload) :] for payload in payloads])


class Vp9Depacketizer:
    __slots__ = ("spatial",)

    def __init__(self) -> None:
        self.spatial = ALL_LAYERS

    def begins_keyframe(self, payload: bytes) -> bool:
        return vp9.describe(payload, 0, len(payload)).keyframe

    def join(self, payloads: Sequence[bytes]) -> bytes:
        layers: dict[int, list[bytes]] = {}
        for payload in payloads:
            found = vp9.describe(payload, 0, len(payload))
            if found.spatial <= self.spatial:
                layers.setdefault(found.spatial, []).append(payload[found.payload_start :])
        frames = [b"".join(layers[spatial]) for spatial in sorted(layers)]
        if len(frames) < 2:
            return b"".join(frames)
        # Annex B: the index marks the end of each layer's frame.
        width = (max(map(len, frames)).bit_length() + 7) // 8
        marker = bytes([0xC0 | (width - 1) << 3 | len(frames) - 1])
        sizes = b"".join([len(frame).to_bytes(width, "little") for frame in frames])
        return b"".join(frames) + marker + sizes + marker


_START_CODE = b"\0\0\0\1"
_IDR, _SPS, _PPS = 5, 7, 8
_PARAMETER_SET_LIMIT = 1024
"""Maximum size in bytes of a stored parameter set, and maximum number of stored sets."""
_PARAMETER_SETS = 16


class H264Depacketizer:
    """Stores parameter sets, because a sender may send them only once and a decoder may start at any keyframe."""

    __slots__ = ("_sets", "spatial")

    def __init__(self) -> None:
        self.spatial = ALL_LAYERS
        self._sets: dict[tuple[int, int], bytes] = {}

    def begins_keyframe(self, payload: bytes) -> bool:
        return h264.describe(payload, 0, len(payload)).keyframe

    def join(self, payloads: Sequence[bytes]) -> bytes:
        units = h264.nal_units(payloads)
        present: set[int] = set()
        for unit in units:
            kind = unit[0] & 0x1F
            present.add(kind)
            if kind in (_SPS, _PPS):
                self._keep(kind, unit)
        if not any(1 <= kind <= _IDR for kind in present):
            return b""
        if _IDR in present:
            missing = [
                unit for (kind, _), unit in sorted(self._sets.items()) if kind not in present and unit not in units
            ]
            units = missing + units
        return b"".join([_START_CODE + unit for unit in units])

    def _keep(self, kind: int, unit: bytes) -> None:
        if len(unit) > _PARAMETER_SET_LIMIT:
            return
        try:
            number = BitReader(unit[4:12] if kind == _SPS else unit[1:9]).exp_golomb()
        except MalformedPacket:
            return
        if (kind, number) in self._sets or len(self._sets) < _PARAMETER_SETS:
            self._sets[kind, number] = unit


_TEMPORAL_DELIMITER = b"\x12\0"
_DROPPED_OBUS = frozenset({2, 8, 15})
"""Temporal delimiter (already inserted), tile list, padding."""


class Av1Depacketizer:
    __slots__ = ("spatial",)

    def __init__(self) -> None:
        self.spatial = ALL_LAYERS

    def begins_keyframe(self, payload: bytes) -> bool:
        return av1.describe(payload, 0, len(payload)).keyframe

    def join(self, payloads: Sequence[bytes]) -> bytes:
        written = []
        for obu in av1.obus(payloads):
            head = obu[0]
            if head >> 3 & 0x0F in _DROPPED_OBUS:
                continue
            body = 2 if head & 0x04 else 1
            if len(obu) < body:
                raise MalformedPacket("AV1 OBU header is truncated")
            if body == 2 and obu[1] >> 3 & 0x03 > self.spatial:
                continue
            if head & 0x02:  # the sender kept the size field, which is allowed (section 4.4)
                written.append(obu)
                continue
            written.append(bytes([head | 0x02]) + obu[1:body] + av1.leb128(len(obu) - body) + obu[body:])
        return _TEMPORAL_DELIMITER + b"".join(written) if written else b""


_KINDS: dict[str, Callable[[], Depacketizer]] = {
    "vp8": Vp8Depacketizer,
    "vp9": Vp9Depacketizer,
    "h264": H264Depacketizer,
    "av1": Av1Depacketizer,
}


def depacketizer(codec: str) -> Depacketizer:
    """Returns a depacketizer for `VP8`, `VP9`, `H264` or `AV1` (case-insensitive). Raises ValueError for other codecs."""
    kind = _KINDS.get(codec.lower())
    if kind is None:
        raise ValueError(f"no depacketizer for {codec!r}")
    return kind()
