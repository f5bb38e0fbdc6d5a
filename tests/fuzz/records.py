"""How one input becomes several packets or messages, and what no mutation would ever get right."""

from collections.abc import Iterator
from struct import pack, pack_into

from google_crc32c import value as crc32c


def records(data: bytes) -> Iterator[bytes]:
    """A length in two bytes, then so many bytes, over and over; the last may be short."""
    at = 0
    while at + 2 <= len(data):
        size = data[at] << 8 | data[at + 1]
        yield data[at + 2 : at + 2 + size]
        at += 2 + size


def recorded(*packets: bytes) -> bytes:
    """Inverse of `records`."""
    return b"".join([len(each).to_bytes(2, "big") + each for each in packets])


def sealed_sctp(chunks: bytes, tag: int = 7) -> bytes:
    """An SCTP packet with the right checksum (RFC 9260 6.8)."""
    packet = bytearray(pack("!HHII", 5000, 5000, tag, 0) + chunks)
    pack_into("<I", packet, 8, crc32c(bytes(packet)))
    return bytes(packet)
