"""Validates a peer's SCTP packets before aiortc's stack, which trusts its input.

`SctpGuard` checks lengths, counts and checksums and keeps no state. `sfu.transport.sctp_association` puts it in front of
aiortc's association and adds the checks that need the association's state. Violations raise MalformedPacket.

RFC 9260 (SCTP), RFC 3758 (FORWARD TSN), RFC 6525 (RE-CONFIG), RFC 8831 and 8832 (data channels).
"""

from dataclasses import dataclass
from struct import Struct
from typing import Final, NamedTuple

from google_crc32c import value as crc32c

from sfu.errors import MalformedPacket
from sfu.sdp.capabilities import MAX_MESSAGE_BYTES

DATA, INIT, INIT_ACK, SACK, HEARTBEAT, HEARTBEAT_ACK, ABORT, SHUTDOWN, SHUTDOWN_ACK, ERROR = range(10)
COOKIE_ECHO, COOKIE_ACK, SHUTDOWN_COMPLETE, RECONFIG, FORWARD_TSN = 10, 11, 14, 130, 192
_WITH_PARAMETERS: Final = {INIT: 20, INIT_ACK: 20, HEARTBEAT: 4, HEARTBEAT_ACK: 4, ABORT: 4, ERROR: 4, RECONFIG: 4}
"""Offset of the parameters, by chunk type."""
_ALONE: Final = frozenset({INIT, INIT_ACK, SHUTDOWN_COMPLETE})
NEEDS_PEER: Final = frozenset({DATA, SACK, FORWARD_TSN, RECONFIG, SHUTDOWN})
"""Chunks that are invalid before the peer's first TSN is known; aiortc raises on them."""

_OUTGOING_RESET, _INCOMING_RESET, _TSN_RESET, _RESET_RESPONSE, _ADD_OUTGOING, _ADD_INCOMING = range(13, 19)
DCEP, STRING, _BINARY, _STRING_EMPTY, _BINARY_EMPTY = 50, 51, 53, 56, 57
DCEP_ACK, _DCEP_OPEN = 2, 3

_CHUNK = Struct("!BBH").unpack_from
WORD = Struct("!I").unpack_from
PAIR = Struct("!HH").unpack_from
CHECKSUM = Struct("<I")
_SACK_COUNTS = Struct("!HH")
_OPEN = Struct("!BBHIHH").unpack_from
RECEIVE_WINDOW = 1024 * 1024
"""Bytes that aiortc advertises."""


@dataclass(frozen=True, slots=True)
class SctpLimits:
    """Limits on the memory and the work that one peer can cause."""

    packet_bytes: int = 4096
    gaps: int = 64
    "Gap blocks of one SACK that are processed."
    streams: int = 64
    "Streams in use at a time; each data channel is one."
    label_bytes: int = 256
    "Bytes of a label and of a protocol name."
    message_bytes: int = MAX_MESSAGE_BYTES
    chunks: int = 1024
    "DATA chunks that wait for the rest of their message or for earlier ones."
    ahead: int = 256
    "DATA chunks received after a missing one."
    work: int = 16_384
    "Queued chunks that aiortc may inspect for the DATA chunks of one packet."


class Chunk(NamedTuple):
    kind: int
    flags: int
    start: int
    "Offset of the chunk header."
    end: int
    "End of the value, without padding."


class SctpGuard:
    """Refuses packets that violate RFC 9260. Stateless, so one guard serves both directions."""

    __slots__ = ("limits",)

    def __init__(self, limits: SctpLimits | None = None) -> None:
        self.limits = limits or SctpLimits()

    def check(self, packet: bytes) -> bytes:
        """Returns the packet, without surplus gap blocks. Raises MalformedPacket."""
        chunks = self.chunks(packet)
        shortened = self.shortened_sacks(packet, chunks)
        return rebuilt(packet, chunks, shortened) if shortened else packet

    def shortened_sacks(self, packet: bytes, chunks: list[Chunk]) -> dict[Chunk, bytes]:
        """Replacements for SACKs with more gap blocks than `gaps`."""
        gaps = self.limits.gaps
        return {
            chunk: _shortened_sack(packet, chunk, gaps)
            for chunk in chunks
            if chunk.kind == SACK and PAIR(packet, chunk.start + 12)[0] > gaps
        }

    def chunks(self, packet: bytes) -> list[Chunk]:
        """The chunks of a well-formed packet. Raises MalformedPacket."""
        size = len(packet)
        if size < 16 or size > self.limits.packet_bytes:
            raise MalformedPacket("SCTP packet has an impossible size")
        (checksum,) = CHECKSUM.unpack_from(packet, 8)
        if checksum != crc32c(b"".join((packet[:8], b"\0\0\0\0", packet[12:]))):
            raise MalformedPacket("SCTP checksum is wrong")
        found: list[Chunk] = []
        control: set[int] = set()
        at = 12
        while at < size:
            if at + 4 > size:
                raise MalformedPacket("SCTP chunk is truncated")
            kind, flags, length = _CHUNK(packet, at)
            end = at + length
            if length < 4 or end > size:
                raise MalformedPacket("SCTP chunk does not fit its packet")
            if kind != DATA:
                # aiortc answers each control chunk with a packet. RFC 9260 allows one chunk of a kind per packet.
                if kind in control:
                    raise MalformedPacket("SCTP packet repeats a control chunk")
                control.add(kind)
            found.append(Chunk(kind, flags, at, end))
            self._check_chunk(packet, kind, flags, at, end)
            at = end + (-length & 3)
        if len(found) > 1 and not control.isdisjoint(_ALONE):
            raise MalformedPacket("SCTP chunk must not be bundled")
        return found

    def _check_chunk(self, packet: bytes, kind: int, flags: int, start: int, end: int) -> None:
        length = end - start
        if kind == DATA:
            if length < 17 or PAIR(packet, start + 8)[0] == 0xFFFF:
                raise MalformedPacket("SCTP DATA chunk is empty or on stream 65535")
            if WORD(packet, start + 12)[0] == DCEP:
                if flags & 3 != 3:
                    raise MalformedPacket("DCEP message is fragmented")
                if not self.is_dcep(packet[start + 16 : end]):
                    raise MalformedPacket("DCEP message is invalid")
        elif kind == SACK:
            self._check_sack(packet, start, length)
        elif kind == FORWARD_TSN:
            if length < 8 or length & 3 or (length - 8) // 4 > self.limits.streams:
                raise MalformedPacket("FORWARD TSN has an impossible length")
        elif kind == SHUTDOWN:
            if length != 8:
                raise MalformedPacket("SHUTDOWN is not 8 bytes long")
        elif kind in _WITH_PARAMETERS:
            if length < _WITH_PARAMETERS[kind]:
                raise MalformedPacket("SCTP chunk is truncated")
            if kind in (INIT, INIT_ACK) and not (WORD(packet, start + 4)[0] and all(PAIR(packet, start + 12))):
                raise MalformedPacket("INIT has no tag or no streams")
            _check_parameters(packet, kind, start + _WITH_PARAMETERS[kind], end)

    @staticmethod
    def _check_sack(packet: bytes, start: int, length: int) -> None:
        if length < 16:
            raise MalformedPacket("SACK is truncated")
        gaps, duplicates = PAIR(packet, start + 12)
        if length != 16 + 4 * (gaps + duplicates):
            raise MalformedPacket("SACK length does not match its counts")
        last = 0
        for at in range(start + 16, start + 16 + 4 * gaps, 4):
            first, final = PAIR(packet, at)
            if first <= last or final < first:
                raise MalformedPacket("SACK gap blocks are not in order")
            last = final

    def is_dcep(self, message: bytes) -> bool:
        """Whether a message (RFC 8832 5) is complete and within the limits."""
        if not message:
            return False
        if message[0] == DCEP_ACK:
            return len(message) == 1
        if message[0] != _DCEP_OPEN or len(message) < 12:
            return False
        _, channel_type, _, _, label, protocol = _OPEN(message)
        if channel_type & 0x7F > 2 or max(label, protocol) > self.limits.label_bytes:
            return False
        if len(message) != 12 + label + protocol:
            return False
        return is_utf8(message[12 : 12 + label]) and is_utf8(message[12 + label :])


def _check_parameters(packet: bytes, kind: int, at: int, end: int) -> None:
    """Parameters and error causes share one format: type, length, value. A length of 0 makes aiortc loop forever."""
    count = 0
    while at < end:
        if at + 4 > end:
            raise MalformedPacket("SCTP parameter is truncated")
        parameter, length = PAIR(packet, at)
        count += 1
        if length < 4 or at + length > end or count > 32:
            raise MalformedPacket("SCTP parameter does not fit its chunk")
        if kind == RECONFIG:
            size = length - 4
            if parameter == _OUTGOING_RESET:
                fits = size >= 12 and not size & 1
            elif parameter == _INCOMING_RESET:
                fits = size >= 4 and not size & 1
            elif parameter == _RESET_RESPONSE:
                fits = size in (8, 16)
            else:
                fits = size == (4 if parameter == _TSN_RESET else 8)
            if not fits or count > 2:
                raise MalformedPacket("RE-CONFIG parameter is invalid")
        at += length + (-length & 3)


def is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _shortened_sack(packet: bytes, chunk: Chunk, gaps: int) -> bytes:
    """A SACK with its first `gaps` gap blocks; the peer repeats the others."""
    body = packet[chunk.start + 4 : chunk.start + 12] + _SACK_COUNTS.pack(gaps, 0)
    body += packet[chunk.start + 16 : chunk.start + 16 + 4 * gaps]
    return packet[chunk.start : chunk.start + 2] + (len(body) + 4).to_bytes(2, "big") + body


def rebuilt(packet: bytes, chunks: list[Chunk], replaced: dict[Chunk, bytes]) -> bytes:
    """The packet with some chunks replaced (removed if b""). aiortc ignores a packet without chunks."""
    parts = []
    for chunk in chunks:
        data = replaced.get(chunk)
        if data is None:
            data = packet[chunk.start : chunk.end]
        parts.append(data + bytes(-len(data) & 3))
    body = b"".join(parts)
    checksum = crc32c(packet[:8] + b"\0\0\0\0" + body)
    return packet[:8] + CHECKSUM.pack(checksum) + body
