"""Extended reports as far as a round trip needs them: who only receives tells its clock, who sends tells it back.

A receiver has no sender reports of its own that could be echoed, so it would not know its round trip: browsers let their
jitter buffers wait for repairs only when they do. RFC 3611 4.4 and 4.5.
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
ECHOES_LIMIT: Final = 64
_BLOCK: Final = Struct("!BxH").unpack_from
_TIME: Final = Struct("!Q").unpack_from
_ECHO: Final = Struct("!III").unpack_from
_HEADER: Final = Struct("!BBHI").pack
_BLOCK_HEADER: Final = Struct("!BxH").pack


class DlrrBlock(NamedTuple):
    """A receiver's clock told back to it (a sub-block of DLRR)."""

    ssrc: int
    "Of the receiver that told its clock."
    time: int
    "The middle 32 bits of the NTP time that it told."
    delay: int
    "Since then, in 1/65536 s."


@dataclass(frozen=True, slots=True)
class ExtendedReport:
    ssrc: int
    reference: int | None = None
    "The sender's clock: 64 bits of NTP time."
    dlrr_blocks: tuple[DlrrBlock, ...] = ()


def parse(data: Buffer, start: int, end: int) -> ExtendedReport:
    """What stands between `start`, behind the common header, and `end`; blocks of other types are left out.

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
            raise MalformedPacket("a block is longer than its extended report")
        if kind == RRTR_BLOCK_TYPE:
            if words != 2:
                raise MalformedPacket("a reference time has 64 bits")
            reference = _TIME(data, begin)[0]
        elif kind == DLRR_BLOCK_TYPE:
            if words % 3:
                raise MalformedPacket("echoes are not of three words each")
            last = min(at, begin + 12 * (ECHOES_LIMIT - len(dlrr_blocks)))
            dlrr_blocks += [DlrrBlock(*_ECHO(data, each)) for each in range(begin, last, 12)]
    if at != end:
        raise MalformedPacket("an extended report ends within a block")
    return ExtendedReport(ssrc, reference, tuple(dlrr_blocks))


def encode(report: ExtendedReport) -> bytes:
    """With its common header."""
    blocks = b""
    if report.reference is not None:
        blocks += _BLOCK_HEADER(RRTR_BLOCK_TYPE, 2) + report.reference.to_bytes(8, "big")
    if report.dlrr_blocks:
        blocks += _BLOCK_HEADER(DLRR_BLOCK_TYPE, 3 * len(report.dlrr_blocks)) + _words(report.dlrr_blocks)
    return _HEADER(0x80, PAYLOAD_TYPE, 1 + len(blocks) // 4, report.ssrc) + blocks


def _words(dlrr_blocks: Sequence[DlrrBlock]) -> bytes:
    return b"".join(word.to_bytes(4, "big") for echo in dlrr_blocks for word in echo)
