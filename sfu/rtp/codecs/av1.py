"""AV1 payload parsing: start of a coded video sequence, layers and picture size.

RTP Payload Format for AV1 (version 1.0.0), section 4.4. Sequence header: AV1 bitstream specification 5.5.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from sfu.errors import MalformedPacket
from sfu.rtp.codecs.bit_reader import BitReader
from sfu.rtp.packet import Buffer

_SEQUENCE_HEADER = 1
_TEMPORAL_DELIMITER = 2
_SEQUENCE_LIMIT = 128


class Descriptor(NamedTuple):
    keyframe: bool
    "The packet begins a coded video sequence."
    width: int
    height: int
    temporal: int
    "-1: not given by the first OBU."
    spatial: int
    begin: bool
    "The packet does not start inside an OBU."


def describe(data: Buffer, start: int, end: int) -> Descriptor:
    """Parses the payload between `start` and `end`. Raises MalformedPacket."""
    if end > len(data) or start + 2 > end:
        raise MalformedPacket("AV1 payload is empty")
    head = data[start]
    if head & 0x80:
        return Descriptor(False, 0, 0, -1, 0, False)
    count = head >> 4 & 0x03
    at, stop = _element(data, start + 1, end, count == 1)
    obu = data[at]
    kind = obu >> 3 & 0x0F
    if kind == _TEMPORAL_DELIMITER and stop < end:
        # Senders should omit temporal delimiters (section 4.3). If one is present, the sequence header follows it.
        at, stop = _element(data, stop, end, count == 2)
        obu = data[at]
        kind = obu >> 3 & 0x0F
    temporal = -1
    spatial = 0
    body = at + 1
    if obu & 0x04:
        if body >= stop:
            raise MalformedPacket("AV1 OBU header is truncated")
        temporal = data[body] >> 5
        spatial = data[body] >> 3 & 0x03
        body += 1
    width = height = 0
    if kind == _SEQUENCE_HEADER:
        if obu & 0x02:
            _, body = _leb128(data, body, stop)
        try:
            width, height = sequence_size(bytes(data[body : min(stop, body + _SEQUENCE_LIMIT)]))
        except MalformedPacket:
            width = height = 0  # leave validation to the decoder; only the size is needed here
    return Descriptor(head & 0x08 != 0 or kind == _SEQUENCE_HEADER, width, height, temporal, spatial, True)


def obus(payloads: Sequence[bytes]) -> list[bytes]:
    """Returns the OBUs in the payloads of one temporal unit's packets, in order. Raises MalformedPacket."""
    found: list[bytes] = []
    fragments: list[bytes] = []
    for payload in payloads:
        if len(payload) < 2:
            raise MalformedPacket("AV1 payload is empty")
        head = payload[0]
        if bool(head & 0x80) != bool(fragments):
            raise MalformedPacket("AV1 fragment without its start or end")
        count = head >> 4 & 0x03
        at, end = 1, len(payload)
        elements: list[bytes] = []
        while at < end:
            start, at = _element(payload, at, end, len(elements) + 1 == count)
            elements.append(payload[start:at])
        if len(elements) < count:
            raise MalformedPacket("AV1 packet has fewer OBU elements than it declares")
        for index, element in enumerate(elements):
            fragments.append(element)
            if index < len(elements) - 1 or not head & 0x40:
                found.append(b"".join(fragments))
                fragments = []
    if fragments:
        raise MalformedPacket("AV1 fragment without its end")
    return found


def leb128(value: int) -> bytes:
    """leb128 encoding of a non-negative value (AV1 4.10.5)."""
    written = bytearray()
    while value >= 0x80:
        written.append(value & 0x7F | 0x80)
        value >>= 7
    written.append(value)
    return bytes(written)


def _element(data: Buffer, at: int, end: int, last: bool) -> tuple[int, int]:
    """Returns start and end of the OBU element at `at`. The last element of a counted list has no length field."""
    size = end - at
    if not last:
        size, at = _leb128(data, at, end)
    if size == 0 or at + size > end:
        raise MalformedPacket("AV1 OBU element does not fit its packet")
    return at, at + size


def _leb128(data: Buffer, at: int, end: int) -> tuple[int, int]:
    """Returns (value, offset after it)."""
    value = 0
    for shift in range(0, 56, 7):
        if at >= end:
            break
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise MalformedPacket("AV1 size is truncated")


@lru_cache(maxsize=64)
def sequence_size(header: bytes) -> tuple[int, int]:
    """Returns max_frame_width and max_frame_height from the body of a sequence header OBU. Raises MalformedPacket."""
    bits = BitReader(header)
    bits.read(3)
    bits.flag()
    if bits.flag():  # reduced_still_picture_header
        bits.read(5)
    else:
        delay_bits = 0
        if bits.flag():  # timing_info_present_flag
            bits.read(64)
            if bits.flag():
                bits.exp_golomb()
            if bits.flag():  # decoder_model_info_present_flag
                delay_bits = bits.read(5) + 1
                bits.read(42)
        display_delays = bits.flag()
        for _ in range(bits.read(5) + 1):
            bits.read(12)
            if bits.read(5) > 7:
                bits.flag()
            if delay_bits and bits.flag():
                bits.read(2 * delay_bits + 1)
            if display_delays and bits.flag():
                bits.read(4)
    width_bits = bits.read(4) + 1
    height_bits = bits.read(4) + 1
    return bits.read(width_bits) + 1, bits.read(height_bits) + 1
