"""Framing of datagrams on a TCP connection (RFC 4571): a length of 16 bits, then the datagram. Pure.

| length, 16 bits | datagram | length, 16 bits | datagram | …
"""

import struct
from typing import Final

from sfu.errors import MalformedPacket

HEADER_SIZE: Final = 2
FRAME_LIMIT: Final = 2048
"""Maximum bytes of a received frame: the size of the decryption buffer. RFC 4571 allows 65,535, but all peers send frames that
fit a UDP datagram on an MTU of 1500."""
SHORTEST: Final = 12
"""Minimum bytes of a valid frame, an RTP header. Shorter frames are skipped, the null packet (RFC 4571 2) among them."""
HEADERS: Final = tuple(struct.pack("!H", size) for size in range(FRAME_LIMIT + 1))

Frame = tuple[int, int]
"""Begin and end of a datagram within a buffer."""


def split(data: memoryview | bytes, size: int) -> tuple[list[Frame], int, int]:
    """The complete frames in the first `size` bytes of `data`.

    Returns (frames, bytes that they take, number of skipped frames). Raises MalformedPacket if a length exceeds `FRAME_LIMIT`.
    """
    frames: list[Frame] = []
    skipped = at = 0
    while at + HEADER_SIZE <= size:
        length = data[at] << 8 | data[at + 1]
        if length > FRAME_LIMIT:
            raise MalformedPacket(f"a frame of {length} bytes")
        begin = at + HEADER_SIZE
        end = begin + length
        if end > size:
            break
        if length < SHORTEST:
            skipped += 1
        else:
            frames.append((begin, end))
        at = end
    return frames, at, skipped


def header(size: int) -> bytes:
    """The header of a datagram of `size` bytes, at most 65,535."""
    return HEADERS[size] if size <= FRAME_LIMIT else struct.pack("!H", size)


def first_bytes_match(data: bytes) -> bool:
    """Whether a connection that begins with `data` is ICE-TCP: its first frame is a STUN message.

    A frame of up to `FRAME_LIMIT` bytes begins with a byte of at most 8. TLS begins with 22 (RFC 8446 5.1), HTTP with a letter.
    """
    return data[:1] <= bytes([FRAME_LIMIT >> 8]) and data != b""
