"""Dependency descriptor: codec-independent frame dependencies, readable also when the payload is encrypted.

Most packets carry only the three mandatory bytes. Keyframes carry the template structure that gives them meaning; the
reader keeps it. A repeated structure is not parsed again, and its size is limited, because a descriptor of 255 bytes
could list 1,000 indications. RTP Payload Format for AV1 (version 1.0.0), appendix A.
"""

from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from itertools import chain
from typing import Final, NamedTuple

from sfu.errors import MalformedPacket
from sfu.rtp.codecs.bit_reader import BitReader
from sfu.rtp.packet import Buffer

FRAME_NUMBER_OFFSET = 1
"""Bytes 1 and 2 of the extension."""
_SIZE_LIMIT = 255
_TEMPLATE_LIMIT = 64
_PRODUCT_LIMIT: Final = 320
"""Limit of templates × decode targets, and of templates × chains. libwebrtc's L3T3 has 15 × 9."""
_DIFFERENCE_LIMIT: Final = 128
"""Limit of frame differences over all templates of a structure. libwebrtc uses at most three per template."""
_CUSTOM_LIMIT: Final = 16
"""Limit of frame differences in one frame's custom fields."""
_SPATIAL_LIMIT = 4
_TEMPORAL_LIMIT = 8


class DecodeTargetIndication(IntEnum):
    """Role of a frame for a decode target (A.8.1.1)."""

    NOT_PRESENT = 0
    DISCARDABLE = 1
    SWITCH = 2
    REQUIRED = 3


class Descriptor(NamedTuple):
    """The mandatory fields (A.8.2)."""

    begin: bool
    "First packet of the frame."
    end: bool
    template_id: int
    frame_number: int
    has_structure: bool
    "The descriptor carries a new structure, so the frame is a keyframe."


class Template(NamedTuple):
    spatial: int
    temporal: int
    indications: tuple[DecodeTargetIndication, ...]
    "One per decode target."
    frame_differences: tuple[int, ...]
    "Distance in frames to each referenced frame."
    chain_differences: tuple[int, ...]
    "One per chain: distance in frames to the previous frame of the chain."


@dataclass(frozen=True, slots=True)
class FrameDependencyStructure:
    id_offset: int
    templates: tuple[Template, ...]
    decode_targets: tuple[tuple[int, int], ...]
    "(spatial, temporal) layer of each decode target."
    chains: int
    protected_by: tuple[int, ...]
    "Chain that protects each decode target. Empty without chains."
    resolutions: tuple[tuple[int, int], ...]
    "(width, height) per spatial layer. Empty: not given."


@dataclass(frozen=True, slots=True)
class Frame:
    """One descriptor, combined with its structure."""

    descriptor: Descriptor
    spatial: int
    temporal: int
    indications: tuple[DecodeTargetIndication, ...]
    frame_differences: tuple[int, ...]
    chain_differences: tuple[int, ...]
    active_decode_targets: int
    "Bit mask of the decode targets that are being sent."
    width: int
    height: int


def describe(data: Buffer, start: int, end: int) -> Descriptor:
    """Parses the mandatory fields of the extension between `start` and `end`. Raises MalformedPacket."""
    if end > len(data) or start + 3 > end:
        raise MalformedPacket("dependency descriptor is truncated")
    first = data[start]
    return Descriptor(
        first >= 0x80,
        first & 0x40 != 0,
        first & 0x3F,
        data[start + 1] << 8 | data[start + 2],
        end - start > 3 and data[start + 3] >= 0x80,
    )


class DependencyDescriptorReader:
    """Parses the descriptors of one stream and keeps the newest structure.

    Call `read` in order of arrival: a new structure replaces the previous one. A MalformedPacket leaves the state
    unchanged.
    """

    __slots__ = ("active_decode_targets", "structure")

    def __init__(self) -> None:
        self.structure: FrameDependencyStructure | None = None
        self.active_decode_targets = 0

    def read(self, data: Buffer, start: int, end: int) -> Frame:
        """Raises MalformedPacket, also before the first structure."""
        descriptor = describe(data, start, end)
        if end - start > _SIZE_LIMIT:
            raise MalformedPacket("dependency descriptor is too long")
        tail = bytes(data[start + 3 : end])
        structure = self.structure
        active = self.active_decode_targets
        custom = _NOTHING_CUSTOM
        if descriptor.has_structure:
            found = _read_structured(tail)
            if isinstance(found, str):
                raise MalformedPacket(found)
            structure, active, custom = found
        elif tail and structure is not None:
            bits = BitReader(tail)
            flags = bits.read(5)
            if flags & 0x08:
                active = bits.read(len(structure.decode_targets))
            custom = _read_custom(bits, flags, structure)
        if structure is None:
            raise MalformedPacket("dependency descriptor before its structure")
        index = (descriptor.template_id - structure.id_offset) & 0x3F
        if index >= len(structure.templates):
            raise MalformedPacket("dependency descriptor refers to an unknown template")
        template = structure.templates[index]
        width = height = 0
        if structure.resolutions:
            width, height = structure.resolutions[template.spatial]
        self.structure = structure
        self.active_decode_targets = active
        return Frame(
            descriptor,
            template.spatial,
            template.temporal,
            template.indications if custom.indications is None else custom.indications,
            template.frame_differences if custom.frame_differences is None else custom.frame_differences,
            template.chain_differences if custom.chain_differences is None else custom.chain_differences,
            active,
            width,
            height,
        )


class _Custom(NamedTuple):
    """Custom fields of a descriptor that override its template. None: the template applies."""

    indications: tuple[DecodeTargetIndication, ...] | None
    frame_differences: tuple[int, ...] | None
    chain_differences: tuple[int, ...] | None


_NOTHING_CUSTOM: Final = _Custom(None, None, None)
_FOUR_INDICATIONS: Final = [
    tuple([DecodeTargetIndication(byte >> shift & 3) for shift in (6, 4, 2, 0)]) for byte in range(256)
]
_NIBBLE: Final = {f"{value:x}": value for value in range(16)}


def _read_indications(bits: BitReader, count: int) -> tuple[DecodeTargetIndication, ...]:
    size = (count + 3) // 4
    packed = (bits.read(2 * count) << 8 * size - 2 * count).to_bytes(size, "big")
    return tuple(chain.from_iterable([_FOUR_INDICATIONS[byte] for byte in packed]))[:count]


@lru_cache(maxsize=128)
def _read_structured(tail: bytes) -> tuple[FrameDependencyStructure, int, _Custom] | str:
    """Parses (structure, active decode targets, custom fields) from the bytes after the mandatory fields.

    Returns an error text instead of raising it, so that the cache keeps the result of malformed input too.
    """
    try:
        bits = BitReader(tail)
        flags = bits.read(5)
        structure = _read_structure(bits)
        targets = len(structure.decode_targets)
        active = bits.read(targets) if flags & 0x08 else (1 << targets) - 1
        return structure, active, _read_custom(bits, flags, structure)
    except MalformedPacket as error:
        return str(error)


def _read_custom(bits: BitReader, flags: int, structure: FrameDependencyStructure) -> _Custom:
    """`flags`: structure present, active decode targets present, custom indications, custom differences, custom chains
    (A.8.2).
    """
    if not flags & 0x07:
        return _NOTHING_CUSTOM
    indications = differences = chains = None
    if flags & 0x04:
        indications = _read_indications(bits, len(structure.decode_targets))
    if flags & 0x02:
        found = []
        while size := bits.read(2):
            found.append(bits.read(4 * size) + 1)
            if len(found) > _CUSTOM_LIMIT:
                raise MalformedPacket("dependency descriptor has too many frame differences")
        differences = tuple(found)
    if flags & 0x01:
        chains = tuple(bits.read(8 * structure.chains).to_bytes(structure.chains, "big"))
    return _Custom(indications, differences, chains)


def _read_structure(bits: BitReader) -> FrameDependencyStructure:
    id_offset = bits.read(6)
    targets = bits.read(5) + 1
    layers = _read_layers(bits)
    if len(layers) * targets > _PRODUCT_LIMIT:
        raise MalformedPacket("dependency descriptor has too many templates for its decode targets")
    indications = [_read_indications(bits, targets) for _ in layers]
    differences = _read_differences(bits, len(layers))
    chains = bits.non_symmetric(targets + 1)
    protected_by: tuple[int, ...] = ()
    chain_differences: list[tuple[int, ...]] = [()] * len(layers)
    if chains:
        protected_by = tuple([bits.non_symmetric(chains) for _ in range(targets)])
        chain_differences = [tuple([_NIBBLE[digit] for digit in f"{bits.read(4 * chains):0{chains}x}"]) for _ in layers]
    resolutions: tuple[tuple[int, int], ...] = ()
    if bits.flag():
        count = max(spatial for spatial, _ in layers) + 1
        resolutions = tuple([(bits.read(16) + 1, bits.read(16) + 1) for _ in range(count)])
    templates = tuple(
        [
            Template(*layers[index], indications[index], differences[index], chain_differences[index])
            for index in range(len(layers))
        ]
    )
    return FrameDependencyStructure(
        id_offset, templates, _decode_targets(templates, targets), chains, protected_by, resolutions
    )


def _read_differences(bits: BitReader, templates: int) -> list[tuple[int, ...]]:
    differences = []
    left = _DIFFERENCE_LIMIT
    for _ in range(templates):
        found = []
        while bits.flag():
            found.append(bits.read(4) + 1)
            left -= 1
            if left < 0:
                raise MalformedPacket("dependency descriptor has too many frame differences")
        differences.append(tuple(found))
    return differences


def _read_layers(bits: BitReader) -> list[tuple[int, int]]:
    """(spatial, temporal) of each template (A.8.2, template_layers)."""
    layers: list[tuple[int, int]] = []
    spatial = temporal = 0
    while True:
        if len(layers) == _TEMPLATE_LIMIT:
            raise MalformedPacket("dependency descriptor has more than 64 templates")
        layers.append((spatial, temporal))
        step = bits.read(2)
        if step == 3:
            return layers
        if step == 1:
            temporal += 1
        elif step == 2:
            spatial += 1
            temporal = 0
        if spatial >= _SPATIAL_LIMIT or temporal >= _TEMPORAL_LIMIT:
            raise MalformedPacket("dependency descriptor has too many layers")


def _decode_targets(templates: tuple[Template, ...], count: int) -> tuple[tuple[int, int], ...]:
    """The highest layers of each decode target (A.8.3.1, decode_target_layers)."""
    found = []
    for target in range(count):
        present = [template for template in templates if template.indications[target]]
        spatial = max((template.spatial for template in present), default=0)
        temporal = max((template.temporal for template in present), default=0)
        found.append((spatial, temporal))
    return tuple(found)
