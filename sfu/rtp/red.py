"""Redundant audio (RED): locates the primary block and the redundant blocks of a payload.

Subscribers without RED support receive only the primary block. Redundant blocks can replace lost packets. RFC 2198.
"""

from typing import NamedTuple

from sfu.errors import MalformedPacket
from sfu.rtp.packet import Buffer

_BLOCK_LIMIT = 16
"""Real senders use one to nine blocks."""


class RedundantBlock(NamedTuple):
    payload_type: int
    timestamp_offset: int
    "Age relative to the packet, in units of the RTP clock."
    start: int
    end: int


def primary(data: Buffer, start: int, end: int) -> tuple[int, int, int]:
    """Returns (payload type, start, end) of the primary block of the payload between `start` and `end`.

    Raises MalformedPacket.
    """
    at = start
    total = 0
    for _ in range(_BLOCK_LIMIT):
        if at >= end:
            break
        head = data[at]
        if head < 0x80:
            begin = at + 1 + total
            if begin > end:
                break
            return head, begin, end
        if at + 4 > end:
            break
        total += (data[at + 2] & 0x03) << 8 | data[at + 3]
        at += 4
    raise MalformedPacket("RED blocks do not fit their payload")


def redundant(data: Buffer, start: int, end: int) -> list[RedundantBlock]:
    """Returns the blocks before the primary one, oldest first. Raises MalformedPacket."""
    _, begin, _ = primary(data, start, end)
    heads = []
    at = start
    while data[at] >= 0x80:
        offset = data[at + 1] << 6 | data[at + 2] >> 2
        heads.append((data[at] & 0x7F, offset, (data[at + 2] & 0x03) << 8 | data[at + 3]))
        at += 4
    blocks = []
    block_start = at + 1
    for payload_type, offset, length in heads:
        blocks.append(RedundantBlock(payload_type, offset, block_start, block_start + length))
        block_start += length
    assert block_start == begin
    return blocks
