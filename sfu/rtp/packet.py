"""Validating view of an RTP header: offsets into the received bytes, without copies.

The view is a plain tuple, because the packet path builds one for nearly every packet. All offsets are checked: callers
may use them as indexes without further validation. RFC 3550 section 5, header extensions RFC 8285.
"""

from struct import Struct
from typing import NamedTuple, TypeAlias

from sfu.errors import MalformedPacket

Buffer: TypeAlias = bytes | bytearray | memoryview

ONE_BYTE_PROFILE = 0xBEDE
TWO_BYTE_PROFILE = 0x1000
"""The low four bits are application-defined (RFC 8285 4.3)."""

_FIXED = Struct("!BBHII").unpack_from
_EXTENSION = Struct("!HH").unpack_from


class Header(NamedTuple):
    """Offsets are absolute in the packet; `end` offsets are exclusive."""

    payload_type: int
    marker: bool
    sequence: int
    timestamp: int
    ssrc: int
    extension_profile: int
    "0: no header extension."
    extension_start: int
    "First byte of the elements, after the four bytes of profile and length."
    extension_end: int
    payload_start: int
    payload_end: int
    "End of the payload, before the padding."


def parse_header(data: Buffer) -> Header:
    """Raises MalformedPacket if a field does not fit into the packet."""
    size = len(data)
    if size < 12:
        raise MalformedPacket("RTP packet is shorter than its header")
    first, second, sequence, timestamp, ssrc = _FIXED(data)
    if first & 0xC0 != 0x80:
        raise MalformedPacket("RTP version is not 2")
    start = 12 + 4 * (first & 0x0F)
    profile = extension_start = 0
    if first & 0x10:
        if start + 4 > size:
            raise MalformedPacket("RTP header extension is truncated")
        profile, words = _EXTENSION(data, start)
        extension_start = start + 4
        start = extension_start + 4 * words
    if start > size:
        raise MalformedPacket("RTP header is longer than its packet")
    end = size
    if first & 0x20:
        padding = data[size - 1]
        end = size - padding
        if padding == 0 or end < start:
            raise MalformedPacket("RTP padding does not fit")
    return Header(
        second & 0x7F,
        second >= 0x80,
        sequence,
        timestamp,
        ssrc,
        profile,
        extension_start,
        start if extension_start else 0,
        start,
        end,
    )


def extensions(data: Buffer, start: int, end: int, profile: int) -> list[tuple[int, int, int]]:
    """Returns the elements (id, offset, length) between `start` and `end`. Unknown profiles yield none.

    Raises MalformedPacket if an element exceeds the block.
    """
    found: list[tuple[int, int, int]] = []
    if end > len(data):
        raise MalformedPacket("header extension exceeds its packet")
    at = start
    if profile == ONE_BYTE_PROFILE:
        while at < end:
            head = data[at]
            at += 1
            if head == 0:
                continue
            if head >= 0xF0 or head < 0x10:
                break  # RFC 8285 4.2: id 15 ends the block; libwebrtc also ends it at id 0 with a length
            length = (head & 0x0F) + 1
            if at + length > end:
                raise MalformedPacket("header extension element exceeds its block")
            found.append((head >> 4, at, length))
            at += length
    elif profile & 0xFFF0 == TWO_BYTE_PROFILE:
        while at < end:
            identifier = data[at]
            at += 1
            if identifier == 0:
                continue
            if at >= end:
                raise MalformedPacket("header extension element without a length")
            length = data[at]
            at += 1
            if at + length > end:
                raise MalformedPacket("header extension element exceeds its block")
            found.append((identifier, at, length))
            at += length
    return found
