"""What stands between a peer's SCTP packets and aiortc's stack, which believes whatever it is told: the rules of the bytes.

`SctpGuard` knows only lengths, counts and checksums; `sfu.transport.sctp_association` puts it in front of aiortc's association
and adds what takes that one's state. Violations raise MalformedPacket.

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
"""Chunk type: where its parameters begin."""
_ALONE: Final = frozenset({INIT, INIT_ACK, SHUTDOWN_COMPLETE})
NEEDS_PEER: Final = frozenset({DATA, SACK, FORWARD_TSN, RECONFIG, SHUTDOWN})
"""Chunks that mean nothing before the peer's first TSN is known; aiortc faults on them."""

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
"""What aiortc advertises, bytes."""


@dataclass(frozen=True, slots=True)
class SctpLimits:
    """What one peer may make us hold or do."""

    packet_bytes: int = 4096
    gaps: int = 64
    "Gap blocks of one SACK that are looked at; each costs."
    streams: int = 64
    "Streams used at a time, and so data channels."
    label_bytes: int = 256
    "Of a label and of a protocol name."
    message_bytes: int = MAX_MESSAGE_BYTES
    chunks: int = 1024
    "DATA chunks that wait for the rest of their message or for earlier ones."
    ahead: int = 256
    "DATA chunks that came before one that is missing."
    work: int = 16_384
    "Waiting chunks that the DATA chunks of one packet may make aiortc look at."


class Chunk(NamedTuple):
    kind: int
    flags: int
    start: int
    "Of the chunk's header."
    end: int
    "Of its value, without padding."


class SctpGuard:
    """Refuses packets that break SCTP's own rules. It keeps no state, so it is the same for both directions."""

    __slots__ = ("limits",)

    def __init__(self, limits: SctpLimits | None = None) -> None:
        self.limits = limits or SctpLimits()

    def check(self, packet: bytes) -> bytes:
        """The packet, perhaps with surplus gap blocks taken out. Raises MalformedPacket."""
        chunks = self.chunks(packet)
        shortened = self.shortened_sacks(packet, chunks)
        return rebuilt(packet, chunks, shortened) if shortened else packet

    def shortened_sacks(self, packet: bytes, chunks: list[Chunk]) -> dict[Chunk, bytes]:
        """SACKs with more gap blocks than we look at, cut down to that."""
        gaps = self.limits.gaps
        return {
            chunk: _shortened_sack(packet, chunk, gaps)
            for chunk in chunks
            if chunk.kind == SACK and PAIR(packet, chunk.start + 12)[0] > gaps
        }

    def chunks(self, packet: bytes) -> list[Chunk]:
        """The chunks of a packet that is right in itself. Raises MalformedPacket."""
        size = len(packet)
        if size < 16 or size > self.limits.packet_bytes:
            raise MalformedPacket("SCTP packet of an impossible size")
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
                # Each control chunk is answered by a packet: one of a kind is all that RFC 9260 lets a sender bundle.
                if kind in control:
                    raise MalformedPacket("SCTP packet repeats a control chunk")
                control.add(kind)
            found.append(Chunk(kind, flags, at, end))
            self._check_chunk(packet, kind, flags, at, end)
            at = end + (-length & 3)
        if len(found) > 1 and not control.isdisjoint(_ALONE):
            raise MalformedPacket("SCTP chunk that may not be bundled")
        return found

    def _check_chunk(self, packet: bytes, kind: int, flags: int, start: int, end: int) -> None:
        length = end - start
        if kind == DATA:
            if length < 17 or PAIR(packet, start + 8)[0] == 0xFFFF:
                raise MalformedPacket("SCTP data without data or on stream 65535")
            if WORD(packet, start + 12)[0] == DCEP:
                if flags & 3 != 3:
                    raise MalformedPacket("DCEP message in fragments")
                if not self.is_dcep(packet[start + 16 : end]):
                    raise MalformedPacket("DCEP message is wrong")
        elif kind == SACK:
            self._check_sack(packet, start, length)
        elif kind == FORWARD_TSN:
            if length < 8 or length & 3 or (length - 8) // 4 > self.limits.streams:
                raise MalformedPacket("FORWARD TSN of an impossible length")
        elif kind == SHUTDOWN:
            if length != 8:
                raise MalformedPacket("SHUTDOWN is not of 8 bytes")
        elif kind in _WITH_PARAMETERS:
            if length < _WITH_PARAMETERS[kind]:
                raise MalformedPacket("SCTP chunk is truncated")
            if kind in (INIT, INIT_ACK) and not (WORD(packet, start + 4)[0] and all(PAIR(packet, start + 12))):
                raise MalformedPacket("INIT without tag or streams")
            _check_parameters(packet, kind, start + _WITH_PARAMETERS[kind], end)

    @staticmethod
    def _check_sack(packet: bytes, start: int, length: int) -> None:
        if length < 16:
            raise MalformedPacket("SACK is truncated")
        gaps, duplicates = PAIR(packet, start + 12)
        if length != 16 + 4 * (gaps + duplicates):
            raise MalformedPacket("SACK is not as long as its counts say")
        last = 0
        for at in range(start + 16, start + 16 + 4 * gaps, 4):
            first, final = PAIR(packet, at)
            if first <= last or final < first:
                raise MalformedPacket("SACK gaps are not in order")
            last = final

    def is_dcep(self, message: bytes) -> bool:
        """Whether a message of RFC 8832 section 5 is whole and within the limits."""
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
    """Parameters and error causes are alike: type, length, value. A length of 0 would loop aiortc for ever."""
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
                raise MalformedPacket("RE-CONFIG parameter is wrong")
        at += length + (-length & 3)


def is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _shortened_sack(packet: bytes, chunk: Chunk, gaps: int) -> bytes:
    """A SACK with its first gap blocks only: later ones will be told again."""
    body = packet[chunk.start + 4 : chunk.start + 12] + _SACK_COUNTS.pack(gaps, 0)
    body += packet[chunk.start + 16 : chunk.start + 16 + 4 * gaps]
    return packet[chunk.start : chunk.start + 2] + (len(body) + 4).to_bytes(2, "big") + body


def rebuilt(packet: bytes, chunks: list[Chunk], replaced: dict[Chunk, bytes]) -> bytes:
    """The packet with some chunks replaced (by nothing, if b""). Without any chunk left aiortc ignores it."""
    parts = []
    for chunk in chunks:
        data = replaced.get(chunk)
        if data is None:
            data = packet[chunk.start : chunk.end]
        parts.append(data + bytes(-len(data) & 3))
    body = b"".join(parts)
    checksum = crc32c(packet[:8] + b"\0\0\0\0" + body)
    return packet[:8] + CHECKSUM.pack(checksum) + body
