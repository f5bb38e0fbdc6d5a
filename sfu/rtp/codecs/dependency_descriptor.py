"""The dependency descriptor: which frames a frame needs, whatever the codec, encrypted payloads included.

Three bytes on most packets; the structure that gives them their meaning comes with keyframes and is kept in a
DescriptorState. RTP Payload Format for AV1 (version 1.0.0), appendix A.
"""

from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

from sfu.errors import MalformedPacket
from sfu.rtp.codecs.bits import Bits
from sfu.rtp.packet import Buffer

FRAME_NUMBER_OFFSET = 1
"""Bytes 1 and 2 of the extension."""
_SIZE_LIMIT = 255
_TEMPLATE_LIMIT = 64
_SPATIAL_LIMIT = 4
_TEMPORAL_LIMIT = 8


class Indication(IntEnum):
    """What a frame is to a decode target (A.8.1.1)."""

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
    "A new structure is attached: the frame is a keyframe."


@dataclass(frozen=True, slots=True)
class Template:
    spatial: int
    temporal: int
    indications: tuple[Indication, ...]
    "One per decode target."
    frame_differences: tuple[int, ...]
    "How many frames back the frames lie that it needs."
    chain_differences: tuple[int, ...]
    "One per chain: how many frames back the chain's previous frame lies."


@dataclass(frozen=True, slots=True)
class Structure:
    id_offset: int
    templates: tuple[Template, ...]
    decode_targets: tuple[tuple[int, int], ...]
    "(spatial, temporal) of each."
    chains: int
    protected_by: tuple[int, ...]
    "Chain of each decode target; empty without chains."
    resolutions: tuple[tuple[int, int], ...]
    "(width, height) per spatial layer; empty: not said."


@dataclass(frozen=True, slots=True)
class Frame:
    """Everything that one descriptor says with its structure applied."""

    descriptor: Descriptor
    spatial: int
    temporal: int
    indications: tuple[Indication, ...]
    frame_differences: tuple[int, ...]
    chain_differences: tuple[int, ...]
    active_decode_targets: int
    "Bit mask of the decode targets that are being sent."
    width: int
    height: int


def describe(data: Buffer, start: int, end: int) -> Descriptor:
    """The mandatory fields of the extension between `start` and `end`. Raises MalformedPacket."""
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


class DescriptorState:
    """Keeps the newest structure of one stream and reads its descriptors with it.

    The caller hands descriptors in the order in which they arrived; a structure replaces the one before. After any
    MalformedPacket the state is what it was.
    """

    __slots__ = ("active_decode_targets", "structure")

    def __init__(self) -> None:
        self.structure: Structure | None = None
        self.active_decode_targets = 0

    def read(self, data: Buffer, start: int, end: int) -> Frame:
        """Raises MalformedPacket, also when no structure has come yet."""
        descriptor = describe(data, start, end)
        if end - start > _SIZE_LIMIT:
            raise MalformedPacket("dependency descriptor is too long")
        bits = Bits(bytes(data[start + 3 : end]))
        structure = self.structure
        active = self.active_decode_targets
        custom_indications = custom_differences = custom_chains = False
        if end - start > 3:
            bits.read(1)
            has_active = bits.flag()
            custom_indications = bits.flag()
            custom_differences = bits.flag()
            custom_chains = bits.flag()
            if descriptor.has_structure:
                structure = _read_structure(bits)
                active = (1 << len(structure.decode_targets)) - 1
            if structure is not None and has_active:
                active = bits.read(len(structure.decode_targets))
        if structure is None:
            raise MalformedPacket("dependency descriptor before its structure")
        index = (descriptor.template_id - structure.id_offset) & 0x3F
        if index >= len(structure.templates):
            raise MalformedPacket("dependency descriptor names a template that is not there")
        template = structure.templates[index]
        indications = template.indications
        frame_differences = template.frame_differences
        chain_differences = template.chain_differences
        if custom_indications:
            indications = _read_indications(bits, len(structure.decode_targets))
        if custom_differences:
            found = []
            while size := bits.read(2):
                found.append(bits.read(4 * size) + 1)
            frame_differences = tuple(found)
        if custom_chains:
            chain_differences = tuple([bits.read(8) for _ in range(structure.chains)])
        width = height = 0
        if structure.resolutions:
            width, height = structure.resolutions[template.spatial]
        self.structure = structure
        self.active_decode_targets = active
        return Frame(
            descriptor,
            template.spatial,
            template.temporal,
            indications,
            frame_differences,
            chain_differences,
            active,
            width,
            height,
        )


_INDICATIONS = tuple(Indication)


def _read_indications(bits: Bits, count: int) -> tuple[Indication, ...]:
    return tuple([_INDICATIONS[bits.read(2)] for _ in range(count)])


def _read_structure(bits: Bits) -> Structure:
    id_offset = bits.read(6)
    targets = bits.read(5) + 1
    layers = _read_layers(bits)
    indications = [_read_indications(bits, targets) for _ in layers]
    differences = []
    for _ in layers:
        found = []
        while bits.flag():
            found.append(bits.read(4) + 1)
        differences.append(tuple(found))
    chains = bits.non_symmetric(targets + 1)
    protected_by: tuple[int, ...] = ()
    chain_differences: list[tuple[int, ...]] = [()] * len(layers)
    if chains:
        protected_by = tuple([bits.non_symmetric(chains) for _ in range(targets)])
        chain_differences = [tuple([bits.read(4) for _ in range(chains)]) for _ in layers]
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
    return Structure(id_offset, templates, _decode_targets(templates, targets), chains, protected_by, resolutions)


def _read_layers(bits: Bits) -> list[tuple[int, int]]:
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
    """The highest layers that take part in each decode target (A.8.3.1, decode_target_layers)."""
    found = []
    for target in range(count):
        present = [template for template in templates if template.indications[target]]
        spatial = max((template.spatial for template in present), default=0)
        temporal = max((template.temporal for template in present), default=0)
        found.append((spatial, temporal))
    return tuple(found)
