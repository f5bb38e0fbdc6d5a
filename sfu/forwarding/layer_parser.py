"""Which layer a canonical packet belongs to, and where a receiver may be given more layers than it has had.

Read of packets only while somebody gets a stream with layers left out, and of a few of them to measure what each layer
costs: the packet path itself knows no layers. VP8: RFC 7741 4.2; VP9: RFC 9628 4.2; dependency
descriptor: AV1 RTP, appendix A.
"""

from typing import Final, NamedTuple, Protocol

from sfu.errors import MalformedPacket
from sfu.forwarding.encoding import Encoding
from sfu.forwarding.packet import HEAD_SIZE, WIDE_HEAD_SIZE, Packet
from sfu.forwarding.stream import ALL_LAYERS
from sfu.rtp.codecs import vp9
from sfu.rtp.codecs.dependency_descriptor import DecodeTargetIndication, DependencyDescriptorReader

LayerLimit = tuple[int, int]
"""The highest spatial and the highest temporal layer that are kept."""
SAMPLE: Final = 128
"""Newest packets of a stream that are looked at to learn what its layers cost: half a second of a large picture."""
STRUCTURES: Final = 4.0
STRUCTURE_EVERY: Final = 64
"""A stream may change its structure so many times at once, and once in so many packets: encoders do so when their layers
change. With a new one in every packet, layers cannot be told apart."""
LEAST_PICTURES: Final = 12
"""Fewer say nothing: every pattern of layers that is in use has repeated itself after eight, and each layer has come twice."""

_new: Final = tuple.__new__
"""Makes a NamedTuple from a tuple in half the time that calling it takes."""


class LayerInfo(NamedTuple):
    """What a packet says of its layer."""

    spatial: int
    temporal: int
    begin: bool
    "First packet of its spatial layer's part of a picture."
    end: bool
    "Last packet of its spatial layer's part of the picture."
    switch_flags: int
    "What else is needed to see whether higher layers may begin here; its meaning is the codec's."
    number: int
    "The picture's number where pictures that are left out must leave no gap; −1 elsewhere."
    modulus: int
    "One less than how many such numbers there are."
    base: int
    "The number of the lowest temporal layer's picture that it goes with."


class LayerParser(Protocol):
    """How one codec's packets are read."""

    def read(self, packet: Packet) -> LayerInfo | None:
        """None: the packet does not say."""

    def is_switch_point(self, layer_info: LayerInfo, since: int, had: LayerLimit, wanted: LayerLimit) -> bool:
        """Whether who had the layers up to `had` can decode those up to `wanted` from the picture that `layer_info` begins.

        `since`: bit mask of the temporal layers of the pictures since the last of the lowest.
        """

    def size(self, spatial: int) -> tuple[int, int]:
        """Pixels of a spatial layer's pictures; zeros: it is not said."""


class Vp8LayerParser:
    """Only with picture id and TL0PICIDX, as every browser sends it: without, nothing could be left out."""

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
        """At the first picture of the layers above, when it needs the lowest layer only (layer sync, the Y bit)."""
        above = (2 << wanted[1]) - (2 << had[1])
        return bool(layer_info.switch_flags and above >> layer_info.temporal & 1 and not since & above)

    def size(self, spatial: int) -> tuple[int, int]:
        return 0, 0


class Vp9LayerParser:
    """By the payload descriptor, where no dependency descriptor comes with it. Larger pictures begin with a keyframe."""

    def read(self, packet: Packet) -> LayerInfo | None:
        try:
            found = vp9.describe(packet.tail, packet.extension_size, len(packet.tail))
        except MalformedPacket:
            return None
        if found.temporal < 0:
            return None
        return LayerInfo(found.spatial, found.temporal, found.begin, found.end, found.switching_up, -1, 0, 0)

    def is_switch_point(self, layer_info: LayerInfo, since: int, had: LayerLimit, wanted: LayerLimit) -> bool:
        """At a switching-up point (the U bit) of the layers that were had."""
        return bool(layer_info.switch_flags and layer_info.temporal <= had[1] and wanted[0] <= had[0])

    def size(self, spatial: int) -> tuple[int, int]:
        return 0, 0


class DependencyDescriptorLayerParser:
    """Any codec whose packets carry dependency descriptors: Chromium's VP8, VP9 and AV1, encrypted ones too.

    Chromium leaves picture ids out of its VP8 then. Higher layers begin where the descriptor says so for a decode target
    (its "switch" indication) in a frame that has been had.
    """

    def __init__(self, structure: bytes) -> None:
        """Of the newest descriptor that came with a structure."""
        self._state = DependencyDescriptorReader()
        self._structured = b""
        """The newest structure as it came."""
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
        # without larger pictures, each spatial layer goes on by itself: what is true of its lowest is of the others
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
        """(spatial layer, temporal layer, bit mask of decode targets that may be begun)."""
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


def layer_parser_for(encoding: Encoding) -> LayerParser | None:
    """None: its layers cannot be told apart."""
    if encoding.structure:
        return DependencyDescriptorLayerParser(encoding.structure)
    if encoding.track.codec == "VP8":
        return Vp8LayerParser()
    return Vp9LayerParser() if encoding.track.codec == "VP9" else None


class LayerShare(NamedTuple):
    """What an encoding with all layers above these left out has of it."""

    spatial: int
    temporal: int
    bytes: float
    "Of all its bytes, 0–1."
    fps: float
    width: int
    "0: not known."
    height: int


def layer_shares(encoding: Encoding) -> tuple[LayerShare, ...] | None:
    """By the newest packets, rising; empty when there is only one layer, or nothing to tell them apart by; None when
    there are too few pictures to say.

    Keyframes do not count: all layers begin with them, and one in a sample would make the lowest look dear.
    """
    layers = layer_parser_for(encoding)
    newest = encoding.find(encoding.highest) if encoding.highest >= 0 else None
    if layers is None or newest is None or layers.read(newest) is None:
        return ()
    sizes: dict[LayerLimit, int] = {}
    ages: dict[int, list[int]] = {}
    "Of the pictures of each temporal layer, rising."
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
    if sum(map(len, ages.values())) < LEAST_PICTURES or oldest == newest.timestamp:
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


def _rate(ages: list[int], encoding: Encoding) -> float:
    """Pictures a second, by the times between them: their share of a short sample would be off by as much as one."""
    span = max(ages) - min(ages) if ages else 0
    return (len(ages) - 1) * encoding.track.clock_rate / span if span else 0.0
