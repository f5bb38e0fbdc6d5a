"""VP9 payload parsing: start of a keyframe, layers, and the fields that a layer switch rewrites.

RFC 9628 sections 4.2 (descriptor) and 4.2.1 (scalability structure).
"""

from typing import NamedTuple

from sfu.errors import MalformedPacket
from sfu.rtp.packet import Buffer


class Descriptor(NamedTuple):
    """Payload descriptor. Offsets are absolute in the data; 0: the field is absent."""

    keyframe: bool
    "The packet begins an independently decodable picture, at its lowest spatial layer."
    width: int
    "Width of the highest spatial layer in the scalability structure. 0: not given."
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
    "The packet begins a frame (one spatial layer of a picture)."
    end: bool
    "The packet ends a frame."
    inter_picture: bool
    "The frame is predicted from another picture."
    switching_up: bool
    inter_layer: bool
    "The frame is predicted from the next lower spatial layer of its picture."
    flexible: bool
    payload_start: int


def describe(data: Buffer, start: int, end: int) -> Descriptor:
    """Parses the payload between `start` and `end`. Raises MalformedPacket."""
    if end > len(data) or start >= end:
        raise MalformedPacket("VP9 payload is empty")
    first = data[start]
    at = start + 1
    picture_id = temporal = tl0picidx = -1
    picture_id_offset = picture_id_bits = tl0picidx_offset = spatial = width = height = 0
    switching_up = inter_layer = False
    # Each field is checked where it is read. Before the structure, the longest descriptor has eight bytes.
    try:
        if first & 0x80:
            picture_id_offset = at
            picture_id = data[at]
            at += 1
            if picture_id & 0x80:
                picture_id = (picture_id & 0x7F) << 8 | data[at]
                at += 1
                picture_id_bits = 15
            else:
                picture_id_bits = 7
        if first & 0x20:
            layers = data[at]
            at += 1
            temporal = layers >> 5
            switching_up = layers & 0x10 != 0
            spatial = layers >> 1 & 0x07
            inter_layer = layers & 1 != 0
            if not first & 0x10:
                tl0picidx_offset = at
                tl0picidx = data[at]
                at += 1
        if first & 0x50 == 0x50:  # flexible and predicted: up to three references (RFC 9628 4.2)
            for _ in range(3):
                at += 1
                if not data[at - 1] & 1:
                    break
            else:
                raise MalformedPacket("VP9 descriptor has more than three references")
        if first & 0x02:
            at, width, height = _scalability_structure(data, at)
    except IndexError:
        raise MalformedPacket("VP9 descriptor is truncated") from None
    if at >= end:
        raise MalformedPacket("VP9 descriptor is truncated or without a payload")
    begin = first & 0x08 != 0
    inter_picture = first & 0x40 != 0
    return Descriptor(
        begin and not inter_picture and spatial == 0, width, height, temporal, spatial, picture_id,
        picture_id_offset, picture_id_bits, tl0picidx, tl0picidx_offset, begin, first & 0x04 != 0, inter_picture,
        switching_up, inter_layer, first & 0x10 != 0, at,
    )  # fmt: skip


def _scalability_structure(data: Buffer, at: int) -> tuple[int, int, int]:
    """Returns (offset after the structure, width, height). Raises IndexError if it is truncated."""
    head = data[at]
    at += 1
    width = height = 0
    if head & 0x10:
        for _ in range((head >> 5) + 1):
            width = max(width, data[at] << 8 | data[at + 1])
            height = max(height, data[at + 2] << 8 | data[at + 3])
            at += 4
    if head & 0x08:
        pictures = data[at]
        at += 1
        for _ in range(pictures):
            at += 1 + (data[at] >> 2 & 0x03)
    return at, width, height
