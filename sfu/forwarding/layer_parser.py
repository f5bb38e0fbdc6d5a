"""Layer parsers: which layer a canonical packet belongs to, and where a receiver may switch to more layers.

Packets are parsed only while a down track takes an encoding with layers left out, and in samples to measure the bitrate of
each layer. The packet path itself does not know layers. VP8: RFC 7741 4.2; VP9: RFC 9628 4.2; dependency descriptor: AV1
RTP, appendix A.
"""

from typing import Final, NamedTuple, Protocol

from sfu.errors import MalformedPacket
from sfu.forwarding.layers import ALL_LAYERS, LayerLimit
from sfu.forwarding.media_track import MediaTrack
from sfu.forwarding.packet import HEAD_SIZE, WIDE_HEAD_SIZE, Packet
from sfu.rtp.codecs import vp9
from sfu.rtp.codecs.dependency_descriptor import DecodeTargetIndication, DependencyDescriptorReader

SAMPLE: Final = 128
"""Newest packets of a stream that are sampled to measure its layers: half a second of a large picture."""
STRUCTURES: Final = 4.0
STRUCTURE_EVERY: Final = 64
"""Template structures accepted in a burst, and packets per further one. Encoders send a new structure when their layers
change. A stream with a new structure in every packet is not parsed."""
MIN_PICTURES: Final = 12
"""Pictures that a sample needs. The layer patterns in use repeat after at most eight pictures, so each layer occurs twice."""

_new: Final = tuple.__new__
"""Makes a NamedTuple from a tuple in half the time of its constructor."""


class ParsedStream(Protocol):
    """The part of an encoding (encoding.py) that the parsers use."""

    track: MediaTrack
    highest: int
    structure: bytes
    width: int
    height: int

    def find(self, sequence: int) -> Packet | None: ...


class LayerInfo(NamedTuple):
    """The layer of one packet."""

    spatial: int
    temporal: int
    begin: bool
    "First packet of its spatial layer in a picture."
    end: bool
    "Last packet of its spatial layer in a picture."
    switch_flags: int
    "Codec-specific flags that say whether higher layers may begin here."
    number: int
    "Picture id, if left-out pictures must leave no gap in the ids (VP8); else −1."
    modulus: int
    "Highest picture id."
    base: int
    "TL0PICIDX: number of the base layer picture that it depends on."


class LayerParser(Protocol):
    """Reads the packets of one codec or header extension."""

    def read(self, packet: Packet) -> LayerInfo | None:
        """None if the packet contains no layer information."""

    def is_switch_point(self, layer_info: LayerInfo, since: int, had: LayerLimit, wanted: LayerLimit) -> bool:
        """Whether a receiver of the layers up to `had` can decode those up to `wanted` from this picture on.

        `since`: bit mask of the temporal layers since the last base layer picture.
        """

    def size(self, spatial: int) -> tuple[int, int]:
        """Picture size of a spatial layer; zeros if not known."""


class Vp8LayerParser:
    """Reads the VP8 payload descriptor. Needs picture id and TL0PICIDX, which every browser sends."""

    def read(self, packet: Packet) -> LayerInfo | None:
        tail, at = packet.tail, packet.extension_size
        if len(tail) - at < 7 or not tail[at] & 0x80 or tail[at + 1] & 0xE0 != 0xE0:
            return None
        if tail[at + 2] & 0x80:
            number, modulus, behind = (tail[at + 2] & 0x7F) << 8 | tail[at + 3], 0x7FFF, at + 4
        else:
            number, modulus, behind = tail[at + 2], 0x7F, at + 3
        layer = tail[behind + 1]
        begin, end = tail[at] & 0x17 == 0x10, packet.first & 0x80 != 0
        return _new(LayerInfo, (0, layer >> 6, begin, end, layer & 0x20, number, modulus, tail[behind]))

    def is_switch_point(self, layer_info: LayerInfo, since: int, had: LayerLimit, wanted: LayerLimit) -> bool:
        """At the first picture of the added layers, if it depends on the base layer only (layer sync, Y bit)."""
        above = (2 << wanted[1]) - (2 << had[1])
        return bool(layer_info.switch_flags and above >> layer_info.temporal & 1 and not since & above)

    def size(self, spatial: int) -> tuple[int, int]:
        return 0, 0


class Vp9LayerParser:
    """Reads the VP9 payload descriptor. A switch to a higher spatial layer needs a keyframe."""

    def read(self, packet: Packet) -> LayerInfo | None:
        try:
            found = vp9.describe(packet.tail, packet.extension_size, len(packet.tail))
        except MalformedPacket:
            return None
        if found.temporal < 0:
            return None
        return LayerInfo(found.spatial, found.temporal, found.begin, found.end, found.switching_up, -1, 0, 0)

    def is_switch_point(self, layer_info: LayerInfo, since: int, had: LayerLimit, wanted: LayerLimit) -> bool:
        """At a switching-up point (U bit) of the layers received so far."""
        return bool(layer_info.switch_flags and layer_info.temporal <= had[1] and wanted[0] <= had[0])

    def size(self, spatial: int) -> tuple[int, int]:
        return 0, 0


class DependencyDescriptorLayerParser:
    """Reads the dependency descriptor: VP8, VP9 and AV1 of Chromium, with end-to-end encryption as well.

    Chromium omits VP8 picture ids then. A receiver may switch to a decode target at a frame whose descriptor has the
    "switch" indication for it.
    """

    def __init__(self, structure: bytes) -> None:
        """`structure`: the newest descriptor that contains a template structure."""
        self._state = DependencyDescriptorReader()
        self._structured = b""
        """The newest template structure in encoded form."""
        self._credit = STRUCTURES
        self._marks: dict[int, tuple[int, int, int]] = {}
        self._targets: tuple[LayerLimit, ...] = ()
        self._read(structure)

    def read(self, packet: Packet) -> LayerInfo | None:
        codec_patch = packet.codec_patch
        if codec_patch is None or not codec_patch.frame_number_at:
            return None
        tail = packet.tail
        at = codec_patch.frame_number_at - 1 - (WIDE_HEAD_SIZE if codec_patch.wide else HEAD_SIZE)
        size = tail[at - 1] if codec_patch.wide else (tail[at - 1] & 15) + 1
        first = tail[at]
        self._credit = min(STRUCTURES, self._credit + 1 / STRUCTURE_EVERY)
        found = self._marks.get(first & 0x3F) if size == 3 else self._read(tail[at : at + size])
        if found is None:
            return None
        spatial, temporal, switch_flags = found
        return _new(LayerInfo, (spatial, temporal, first & 0x80 != 0, first & 0x40 != 0, switch_flags, -1, 0, 0))

    def is_switch_point(self, layer_info: LayerInfo, since: int, had: LayerLimit, wanted: LayerLimit) -> bool:
        if layer_info.spatial > had[0] or layer_info.temporal > had[1]:
            return False
        # If the picture size does not grow, every spatial layer continues: this layer's indications hold for the others.
        most = layer_info.spatial if wanted[0] <= had[0] else wanted[0]
        within = [index for index, (s, t) in enumerate(self._targets) if s <= most and t <= wanted[1]]
        if not within:
            return False
        highest = max(within, key=lambda index: self._targets[index])
        return bool(layer_info.switch_flags >> highest & 1)

    def size(self, spatial: int) -> tuple[int, int]:
        resolutions = self._state.structure.resolutions if self._state.structure is not None else ()
        return resolutions[spatial] if spatial < len(resolutions) else (0, 0)

    def _read(self, descriptor: bytes) -> tuple[int, int, int] | None:
        """(spatial layer, temporal layer, bit mask of decode targets that may begin here)."""
        before = self._state.structure
        if len(descriptor) > 3 and descriptor[3] & 0x80 and descriptor[3:] != self._structured:
            if self._credit < 1:
                return None
            self._credit -= 1
            self._structured = descriptor[3:]
        try:
            frame = self._state.read(descriptor, 0, len(descriptor))
        except MalformedPacket:
            return None
        structure = self._state.structure
        if structure is not None and structure is not before:
            self._targets = structure.decode_targets
            self._marks = {
                (structure.id_offset + index) & 0x3F: (one.spatial, one.temporal, _switches(one.indications))
                for index, one in enumerate(structure.templates)
            }
        return frame.spatial, frame.temporal, _switches(frame.indications)


def _switches(indications: tuple[DecodeTargetIndication, ...]) -> int:
    return sum([1 << index for index, one in enumerate(indications) if one is DecodeTargetIndication.SWITCH])


def layer_parser_for(encoding: ParsedStream) -> LayerParser | None:
    """None if the encoding's layers cannot be distinguished."""
    if encoding.structure:
        return DependencyDescriptorLayerParser(encoding.structure)
    if encoding.track.codec == "VP8":
        return Vp8LayerParser()
    return Vp9LayerParser() if encoding.track.codec == "VP9" else None


class LayerShare(NamedTuple):
    """The share of an encoding that remains if all layers above these are left out."""

    spatial: int
    temporal: int
    bytes: float
    "Fraction of the encoding's bytes, 0–1."
    fps: float
    width: int
    "0 if not known."
    height: int


def layer_shares(encoding: ParsedStream) -> tuple[LayerShare, ...] | None:
    """The layers of the newest packets, in rising order.

    Empty if there is only one layer or the layers cannot be distinguished; None if there are too few pictures. Keyframes do
    not count: they belong to all layers, and one in the sample would overstate the base layer.
    """
    layers = layer_parser_for(encoding)
    newest = encoding.find(encoding.highest) if encoding.highest >= 0 else None
    if layers is None or newest is None or layers.read(newest) is None:
        return ()
    sizes: dict[LayerLimit, int] = {}
    ages: dict[int, list[int]] = {}
    "Ages of the pictures of each temporal layer in RTP time, rising."
    oldest, keyframes = newest.timestamp, set()
    for back in range(SAMPLE):
        packet = encoding.find((encoding.highest - back) & 0xFFFF)
        if packet is None:
            continue
        layer_info = layers.read(packet)
        if layer_info is None or packet.timestamp in keyframes:
            continue
        if packet.keyframe:
            keyframes.add(packet.timestamp)
            continue
        caps = layer_info.spatial, layer_info.temporal
        sizes[caps] = sizes.get(caps, 0) + packet.size
        if packet.timestamp != oldest or not ages:
            ages.setdefault(layer_info.temporal, []).append((newest.timestamp - packet.timestamp) & 0xFFFFFFFF)
            oldest = packet.timestamp
    if sum(map(len, ages.values())) < MIN_PICTURES or oldest == newest.timestamp:
        return None
    if len(sizes) < 2:
        return ()
    total = sum(sizes.values())
    found = []
    spatials, temporals = {spatial for spatial, _ in sizes}, {temporal for _, temporal in sizes}
    rates = {t: _rate([age for low in ages if low <= t for age in ages[low]], encoding) for t in temporals}
    for spatial, temporal in sorted([(spatial, temporal) for spatial in spatials for temporal in temporals]):
        size = sum([size for (s, t), size in sizes.items() if s <= spatial and t <= temporal])
        width, height = layers.size(spatial)
        if not height:
            height = encoding.height >> (max(spatials) - spatial)
            width = encoding.width >> (max(spatials) - spatial)
        caps = (
            ALL_LAYERS if spatial == max(spatials) else spatial,
            ALL_LAYERS if temporal == max(temporals) else temporal,
        )
        found.append(LayerShare(*caps, size / total, rates[temporal], width, height))
    return tuple(found)


def _rate(ages: list[int], encoding: ParsedStream) -> float:
    """Pictures per second by the intervals between them: counting pictures in a short sample would be off by up to one."""
    span = max(ages) - min(ages) if ages else 0
    return (len(ages) - 1) * encoding.track.clock_rate / span if span else 0.0
