"""Handles XR RRTR and DLRR blocks, which measure the round-trip time of a pure receiver.

A receiver sends no sender reports, so it cannot measure its round-trip time from reception reports. Browsers let their
jitter buffers wait for retransmissions only when they know it. RFC 3611 4.4 and 4.5.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from struct import Struct
from typing import Final, NamedTuple

from sfu.errors import MalformedPacket
from sfu.rtp.packet import Buffer

PAYLOAD_TYPE: Final = 207
RRTR_BLOCK_TYPE: Final = 4
DLRR_BLOCK_TYPE: Final = 5
DLRR_BLOCK_LIMIT: Final = 64
_BLOCK: Final = Struct("!BxH").unpack_from
_TIME: Final = Struct("!Q").unpack_from
_ECHO: Final = Struct("!III").unpack_from
_HEADER: Final = Struct("!BBHI").pack
_BLOCK_HEADER: Final = Struct("!BxH").pack


class DlrrBlock(NamedTuple):
    """DLRR sub-block: echo of a receiver's reference time."""

    ssrc: int
    "SSRC of the receiver that sent the reference time."
    time: int
    "Middle 32 bits of its NTP reference time."
    delay: int
    "Delay since its arrival, in 1/65536 s."


@dataclass(frozen=True, slots=True)
class ExtendedReport:
    ssrc: int
    reference: int | None = None
    "RRTR: the sender's clock as a 64-bit NTP timestamp."
    dlrr_blocks: tuple[DlrrBlock, ...] = ()


def parse(data: Buffer, start: int, end: int) -> ExtendedReport:
    """Parses the report after the common header. Blocks of other types are skipped.

    Raises MalformedPacket.
    """
    if end < start + 4:
        raise MalformedPacket("extended report is truncated")
    ssrc = int.from_bytes(data[start : start + 4], "big")
    reference: int | None = None
    dlrr_blocks: list[DlrrBlock] = []
    at = start + 4
    while at + 4 <= end:
        kind, words = _BLOCK(data, at)
        begin, at = at + 4, at + 4 + 4 * words
        if at > end:
            raise MalformedPacket("extended report block is longer than its packet")
        if kind == RRTR_BLOCK_TYPE:
            if words != 2:
                raise MalformedPacket("RRTR block has a wrong length")
            reference = _TIME(data, begin)[0]
        elif kind == DLRR_BLOCK_TYPE:
            if words % 3:
                raise MalformedPacket("DLRR block has a wrong length")
            last = min(at, begin + 12 * (DLRR_BLOCK_LIMIT - len(dlrr_blocks)))
            dlrr_blocks += [DlrrBlock(*_ECHO(data, each)) for each in range(begin, last, 12)]
    if at != end:
        raise MalformedPacket("extended report ends inside a block")
    return ExtendedReport(ssrc, reference, tuple(dlrr_blocks))


def encode(report: ExtendedReport) -> bytes:
    """Encodes the report with its common header."""
    blocks = b""
    if report.reference is not None:
        blocks += _BLOCK_HEADER(RRTR_BLOCK_TYPE, 2) + report.reference.to_bytes(8, "big")
    if report.dlrr_blocks:
        blocks += _BLOCK_HEADER(DLRR_BLOCK_TYPE, 3 * len(report.dlrr_blocks)) + _words(report.dlrr_blocks)
    return _HEADER(0x80, PAYLOAD_TYPE, 1 + len(blocks) // 4, report.ssrc) + blocks


def _words(dlrr_blocks: Sequence[DlrrBlock]) -> bytes:
    return b"".join(word.to_bytes(4, "big") for echo in dlrr_blocks for word in echo)
