"""H.264 in containers: the decoder configuration record (avcC) and length-prefixed NAL units.

ISO/IEC 14496-15 5.3.3.1 and 5.3.4.2. The input is untrusted: the number of parameter sets and of NAL units is bounded.
"""

from typing import Final, NamedTuple

from sfu.errors import MalformedPacket

MAX_UNITS: Final = 1024
"""NAL units of one picture; encoders use up to 64 slices."""
MAX_PARAMETER_SETS: Final = 32


class AvcConfiguration(NamedTuple):
    length_size: int
    "Bytes of a length prefix: 1, 2 or 4."
    sps: tuple[bytes, ...]
    pps: tuple[bytes, ...]


def parse_avcc(record: bytes) -> AvcConfiguration:
    """Raises MalformedPacket."""
    if len(record) < 7 or record[0] != 1:
        raise MalformedPacket("invalid avcC record")
    length_size = (record[4] & 3) + 1
    if length_size == 3:
        raise MalformedPacket("invalid avcC record")
    found: list[tuple[bytes, ...]] = []
    at = 5
    for mask in (0x1F, 0xFF):
        if at >= len(record):
            raise MalformedPacket("avcC record is truncated")
        count = record[at] & mask
        at += 1
        if count > MAX_PARAMETER_SETS:
            raise MalformedPacket("too many H.264 parameter sets")
        units = []
        for _ in range(count):
            size = int.from_bytes(record[at : at + 2], "big")
            unit = record[at + 2 : at + 2 + size]
            if not size or len(unit) < size:
                raise MalformedPacket("avcC record is truncated")
            units.append(unit)
            at += 2 + size
        found.append(tuple(units))
    if not found[0] or not found[1]:
        raise MalformedPacket("avcC record has no parameter sets")
    return AvcConfiguration(length_size, *found)


def split_units(data: bytes, length_size: int = 4) -> list[bytes]:
    """NAL units of a picture. Raises MalformedPacket."""
    found: list[bytes] = []
    at, end = 0, len(data)
    while at + length_size <= end:
        size = int.from_bytes(data[at : at + length_size], "big")
        at += length_size
        if size > end - at or len(found) >= MAX_UNITS:
            raise MalformedPacket("H.264 NAL unit does not fit its picture")
        if size:
            found.append(data[at : at + size])
        at += size
    return found
