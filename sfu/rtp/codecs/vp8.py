"""VP8 payload parsing: start of a keyframe, and the fields that a layer switch rewrites.

RFC 7741 sections 4.2 (descriptor) and 4.3. Keyframe size: RFC 6386 section 9.1.
"""

from typing import NamedTuple

from sfu.errors import MalformedPacket
from sfu.rtp.packet import Buffer


class Descriptor(NamedTuple):
    """Payload descriptor. Offsets are absolute in the data; 0: the field is absent."""

    keyframe: bool
    "The packet begins a keyframe."
    width: int
    height: int
    temporal: int
    "-1: unknown."
    spatial: int
    picture_id: int
    picture_id_offset: int
    picture_id_bits: int
    "0, 7 or 15."
    tl0picidx: int
    tl0picidx_offset: int
    begin: bool
    "The packet begins a frame."
    layer_sync: bool
    "The frame depends on the base layer only, so a switch to this layer is possible."
    non_reference: bool


def describe(data: Buffer, start: int, end: int) -> Descriptor:
    """Parses the payload between `start` and `end`. Raises MalformedPacket."""
    if end > len(data) or start >= end:
        raise MalformedPacket("VP8 payload is empty")
    first = data[start]
    at = start + 1
    picture_id = temporal = tl0picidx = -1
    picture_id_offset = picture_id_bits = tl0picidx_offset = 0
    layer_sync = False
    if first & 0x80:
        if at >= end:
            raise MalformedPacket("VP8 descriptor is truncated")
        present = data[at]
        at += 1
        if present & 0x80:
            if at >= end:
                raise MalformedPacket("VP8 descriptor is truncated")
            picture_id_offset = at
            picture_id = data[at]
            at += 1
            if picture_id & 0x80:
                if at >= end:
                    raise MalformedPacket("VP8 descriptor is truncated")
                picture_id = (picture_id & 0x7F) << 8 | data[at]
                at += 1
                picture_id_bits = 15
            else:
                picture_id_bits = 7
        if present & 0x40:
            if at >= end:
                raise MalformedPacket("VP8 descriptor is truncated")
            tl0picidx_offset = at
            tl0picidx = data[at]
            at += 1
        if present & 0x30:
            if at >= end:
                raise MalformedPacket("VP8 descriptor is truncated")
            if present & 0x20:
                temporal = data[at] >> 6
                layer_sync = data[at] & 0x20 != 0
            at += 1
    if at >= end:
        raise MalformedPacket("VP8 descriptor without a payload")
    begin = first & 0x17 == 0x10  # start of partition 0
    width = height = 0
    keyframe = begin and not data[at] & 1
    if keyframe and at + 10 <= end and bytes(data[at + 3 : at + 6]) == b"\x9d\x01\x2a":
        width = (data[at + 7] & 0x3F) << 8 | data[at + 6]
        height = (data[at + 9] & 0x3F) << 8 | data[at + 8]
    return Descriptor(
        keyframe, width, height, temporal, 0, picture_id, picture_id_offset, picture_id_bits, tl0picidx,
        tl0picidx_offset, begin, layer_sync, first & 0x20 != 0,
    )  # fmt: skip


def payload_start(payload: Buffer) -> int:
    """Returns the end of the descriptor. `describe` must have accepted the payload."""
    if not payload[0] & 0x80:
        return 1
    present = payload[1]
    at = 2
    if present & 0x80:
        at += 2 if payload[2] & 0x80 else 1
    if present & 0x40:
        at += 1
    return at + 1 if present & 0x30 else at
