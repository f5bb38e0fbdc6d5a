"""Splits coded pictures into RTP payloads.

H.264: RFC 6184 5.6 to 5.8, packetization mode 1 (single units, aggregated parameter sets, fragments). VP9: RFC 9628 4.2.
AV1: RTP Payload Format for AV1 (version 1.0.0), section 4.
"""

from collections.abc import Iterator, Sequence
from struct import pack
from typing import Final

from sfu.errors import MalformedPacket

MAX_PAYLOAD_BYTES: Final = 1180
"""Maximum RTP payload in bytes: with headers and SRTP overhead it must fit a path MTU of 1280."""
_STAP_A, _FU_A = 24, 28
_SEQUENCE_HEADER: Final = 1
_DROPPED_OBUS: Final = frozenset({2, 8, 15})
"""Temporal delimiter, tile list, padding (section 5)."""
MAX_OBUS: Final = 256


def h264_payloads(units: Sequence[bytes], sets: Sequence[bytes] = ()) -> Iterator[bytes]:
    """`sets`: parameter sets, which go in front of the picture in one STAP-A packet."""
    if sets:
        if sum(map(len, sets)) + 2 * len(sets) < MAX_PAYLOAD_BYTES:
            yield bytes((_STAP_A | sets[0][0] & 0x60,)) + b"".join([pack("!H", len(unit)) + unit for unit in sets])
        else:
            units = (*sets, *units)
    for unit in units:
        if len(unit) <= MAX_PAYLOAD_BYTES:
            yield unit
            continue
        head, body = unit[0], unit[1:]
        for at in range(0, len(body), MAX_PAYLOAD_BYTES - 2):
            edge = (0x80 if at == 0 else 0) | (0x40 if at + MAX_PAYLOAD_BYTES - 2 >= len(body) else 0)
            yield bytes((head & 0xE0 | _FU_A, edge | head & 0x1F)) + body[at : at + MAX_PAYLOAD_BYTES - 2]


def vp9_payloads(frame: bytes, picture_id: int, *, keyframe: bool) -> Iterator[bytes]:
    """`picture_id`: 15 bits. One layer, non-flexible mode."""
    size = MAX_PAYLOAD_BYTES - 3
    for at in range(0, len(frame), size):
        flags = 0x80 | (0 if keyframe else 0x40) | (8 if at == 0 else 0) | (4 if at + size >= len(frame) else 0)
        yield pack("!BH", flags, 0x8000 | picture_id & 0x7FFF) + frame[at : at + size]


def split_obus(unit: bytes) -> list[bytes]:
    """OBUs of a temporal unit in low-overhead format, without size fields. Raises MalformedPacket."""
    found: list[bytes] = []
    at, end = 0, len(unit)
    while at < end:
        head = unit[at]
        body = at + (2 if head & 4 else 1)
        size = end - body
        if head & 2:
            size = shift = 0
            while True:
                if body >= end or shift > 28:
                    raise MalformedPacket("AV1 OBU is truncated")
                byte = unit[body]
                body += 1
                size |= (byte & 0x7F) << shift
                shift += 7
                if byte < 0x80:
                    break
        if size < 0 or body + size > end or len(found) >= MAX_OBUS:
            raise MalformedPacket("AV1 OBU does not fit its temporal unit")
        if head >> 3 & 0x0F not in _DROPPED_OBUS:
            found.append(bytes((head & ~2,)) + unit[at + 1 : at + (2 if head & 4 else 1)] + unit[body : body + size])
        at = body + size
    return found


def av1_payloads(obus: Sequence[bytes]) -> Iterator[bytes]:
    """`obus`: of one temporal unit, as `split_obus` returns them. Each packet carries one OBU or a part of one."""
    begins = any(obu[0] >> 3 & 0x0F == _SEQUENCE_HEADER for obu in obus)
    size = MAX_PAYLOAD_BYTES - 1
    for number, obu in enumerate(obus):
        for at in range(0, len(obu), size):
            first = begins and number == 0 and at == 0
            head = (0x80 if at else 0) | (0x40 if at + size < len(obu) else 0) | 0x10 | (8 if first else 0)
            yield bytes((head,)) + obu[at : at + size]


def has_sequence_header(obus: Sequence[bytes]) -> bool:
    return any(obu[0] >> 3 & 0x0F == _SEQUENCE_HEADER for obu in obus)
