"""What stands between a peer's SCTP packets and aiortc's stack, which believes whatever it is told.

Two layers. `SctpGuard` knows only the bytes: lengths, counts, checksums. `GuardedAssociation` is aiortc's association
with the guard in front and its own state at hand: what does not fit that state (a SACK of what was never sent, data far
ahead, a fragment that never ends, a data-channel acknowledgement nobody asked for) does not reach it. Violations raise
MalformedPacket; what an honest peer may do and we have no room for is taken out of the packet, so that it is sent again.

RFC 9260 (SCTP), RFC 3758 (FORWARD TSN), RFC 6525 (RE-CONFIG), RFC 8831 and 8832 (data channels). The private members of
aiortc used here are named in `GuardedAssociation` and held by tests/transport/test_sctp_guard.py.
"""

from collections.abc import Container
from dataclasses import dataclass
from struct import Struct
from typing import Final, NamedTuple

from aiortc import RTCDtlsTransport, RTCSctpTransport
from google_crc32c import value as crc32c

from sfu.errors import MalformedPacket

DATA, INIT, INIT_ACK, SACK, HEARTBEAT, HEARTBEAT_ACK, ABORT, SHUTDOWN, SHUTDOWN_ACK, ERROR = range(10)
COOKIE_ECHO, COOKIE_ACK, SHUTDOWN_COMPLETE, RECONFIG, FORWARD_TSN = 10, 11, 14, 130, 192
_WITH_PARAMETERS: Final = {INIT: 20, INIT_ACK: 20, HEARTBEAT: 4, HEARTBEAT_ACK: 4, ABORT: 4, ERROR: 4, RECONFIG: 4}
"""Chunk type: where its parameters begin."""
_ALONE: Final = frozenset({INIT, INIT_ACK, SHUTDOWN_COMPLETE})
_NEEDS_PEER: Final = frozenset({DATA, SACK, FORWARD_TSN, RECONFIG, SHUTDOWN})
"""Chunks that mean nothing before the peer's first TSN is known; aiortc faults on them."""

_OUTGOING_RESET, _INCOMING_RESET, _TSN_RESET, _RESET_RESPONSE, _ADD_OUTGOING, _ADD_INCOMING = range(13, 19)
_DCEP, _STRING, _BINARY, _STRING_EMPTY, _BINARY_EMPTY = 50, 51, 53, 56, 57
_DCEP_ACK, _DCEP_OPEN = 2, 3

_CHUNK = Struct("!BBH").unpack_from
_WORD = Struct("!I").unpack_from
_PAIR = Struct("!HH").unpack_from
_CHECKSUM = Struct("<I")
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
    message_bytes: int = 262_144
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
        return _rebuilt(packet, chunks, shortened) if shortened else packet

    def shortened_sacks(self, packet: bytes, chunks: list[Chunk]) -> dict[Chunk, bytes]:
        """SACKs with more gap blocks than we look at, cut down to that."""
        gaps = self.limits.gaps
        return {
            chunk: _shortened_sack(packet, chunk, gaps)
            for chunk in chunks
            if chunk.kind == SACK and _PAIR(packet, chunk.start + 12)[0] > gaps
        }

    def chunks(self, packet: bytes) -> list[Chunk]:
        """The chunks of a packet that is right in itself. Raises MalformedPacket."""
        size = len(packet)
        if size < 16 or size > self.limits.packet_bytes:
            raise MalformedPacket("SCTP packet of an impossible size")
        (checksum,) = _CHECKSUM.unpack_from(packet, 8)
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
            if length < 17 or _PAIR(packet, start + 8)[0] == 0xFFFF:
                raise MalformedPacket("SCTP data without data or on stream 65535")
            if _WORD(packet, start + 12)[0] == _DCEP:
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
            if kind in (INIT, INIT_ACK) and not (_WORD(packet, start + 4)[0] and all(_PAIR(packet, start + 12))):
                raise MalformedPacket("INIT without tag or streams")
            _check_parameters(packet, kind, start + _WITH_PARAMETERS[kind], end)

    @staticmethod
    def _check_sack(packet: bytes, start: int, length: int) -> None:
        if length < 16:
            raise MalformedPacket("SACK is truncated")
        gaps, duplicates = _PAIR(packet, start + 12)
        if length != 16 + 4 * (gaps + duplicates):
            raise MalformedPacket("SACK is not as long as its counts say")
        last = 0
        for at in range(start + 16, start + 16 + 4 * gaps, 4):
            first, final = _PAIR(packet, at)
            if first <= last or final < first:
                raise MalformedPacket("SACK gaps are not in order")
            last = final

    def is_dcep(self, message: bytes) -> bool:
        """Whether a message of RFC 8832 section 5 is whole and within the limits."""
        if not message:
            return False
        if message[0] == _DCEP_ACK:
            return len(message) == 1
        if message[0] != _DCEP_OPEN or len(message) < 12:
            return False
        _, channel_type, _, _, label, protocol = _OPEN(message)
        if channel_type & 0x7F > 2 or max(label, protocol) > self.limits.label_bytes:
            return False
        if len(message) != 12 + label + protocol:
            return False
        return _is_utf8(message[12 : 12 + label]) and _is_utf8(message[12 + label :])


def _check_parameters(packet: bytes, kind: int, at: int, end: int) -> None:
    """Parameters and error causes are alike: type, length, value. A length of 0 would loop aiortc for ever."""
    count = 0
    while at < end:
        if at + 4 > end:
            raise MalformedPacket("SCTP parameter is truncated")
        parameter, length = _PAIR(packet, at)
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


def _is_utf8(data: bytes) -> bool:
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


def _rebuilt(packet: bytes, chunks: list[Chunk], replaced: dict[Chunk, bytes]) -> bytes:
    """The packet with some chunks replaced (by nothing, if b""). Without any chunk left aiortc ignores it."""
    parts = []
    for chunk in chunks:
        data = replaced.get(chunk)
        if data is None:
            data = packet[chunk.start : chunk.end]
        parts.append(data + bytes(-len(data) & 3))
    body = b"".join(parts)
    checksum = crc32c(packet[:8] + b"\0\0\0\0" + body)
    return packet[:8] + _CHECKSUM.pack(checksum) + body


class GuardedAssociation(RTCSctpTransport):
    """aiortc's SCTP association behind the guard: give it the packets that `check` returns.

    Uses of aiortc: `_association_state`, `_local_verification_tag`, `_remote_verification_tag`, `_last_received_tsn`,
    `_sack_misordered`, `_inbound_streams[].reassembly`, `_sent_queue`, `_local_tsn`, `_last_sacked_tsn`,
    `_data_channels`, `_data_channel_queue`, `_receive`.
    """

    def __init__(self, transport: RTCDtlsTransport, port: int = 5000, limits: SctpLimits | None = None) -> None:
        super().__init__(transport, port)
        self.guard = SctpGuard(limits)
        self.refused = 0
        "Messages that were not delivered, and chunks that were taken out of their packets."

    def forget(self) -> None:
        """After `stop`: what still waited to be sent holds the channels, and they hold this."""
        self._data_channel_queue.clear()

    def check(self, packet: bytes) -> bytes:
        """What of a packet may be handed to `_handle_data`. Raises MalformedPacket for violations."""
        chunks = self.guard.chunks(packet)
        first = chunks[0].kind
        tag = _WORD(packet, 4)[0]
        if tag != (0 if first == INIT else self._local_verification_tag):
            raise MalformedPacket("SCTP verification tag is wrong")
        replaced: dict[Chunk, bytes] = {}
        if first == INIT:
            if not self._may_begin(packet, chunks[0]):
                replaced[chunks[0]] = b""
        elif self._last_received_tsn is None:
            replaced = {chunk: b"" for chunk in chunks if chunk.kind in _NEEDS_PEER}
        else:
            self._check_sacks(packet, chunks)
            self._check_streams(packet, chunks)
            replaced = self._surplus(packet, chunks, self._last_received_tsn)
            replaced |= self.guard.shortened_sacks(packet, chunks)
        if not replaced:
            return packet
        self.refused += len(replaced)
        return _rebuilt(packet, chunks, replaced)

    def _may_begin(self, packet: bytes, chunk: Chunk) -> bool:
        """An INIT that comes late or again would set an association back that is running or over."""
        states = self.State
        if self._association_state in (states.COOKIE_WAIT, states.COOKIE_ECHOED):
            return True
        same_tag = _WORD(packet, chunk.start + 4)[0] == self._remote_verification_tag
        same_tsn = (_WORD(packet, chunk.start + 16)[0] - 1) & 0xFFFFFFFF == self._last_received_tsn
        return self._association_state == states.ESTABLISHED and same_tag and same_tsn

    def _check_sacks(self, packet: bytes, chunks: list[Chunk]) -> None:
        """aiortc walks every number between the gap bounds: they may only cover what we have sent."""
        for chunk in chunks:
            if chunk.kind != SACK:
                continue
            cumulative = _WORD(packet, chunk.start + 4)[0]
            if (cumulative - self._last_sacked_tsn) & 0xFFFFFFFF >= 0x80000000:
                continue  # an old one that was overtaken: aiortc ignores it
            if (self._local_tsn - 1 - cumulative) & 0xFFFFFFFF >= 0x80000000:
                raise MalformedPacket("SACK of data that was never sent")
            gaps, _ = _PAIR(packet, chunk.start + 12)
            if gaps and _PAIR(packet, chunk.start + 12 + 4 * gaps)[1] > len(self._sent_queue):
                raise MalformedPacket("SACK of gaps beyond what was sent")

    def _check_streams(self, packet: bytes, chunks: list[Chunk]) -> None:
        streams = set(self._inbound_streams)
        for chunk in chunks:
            if chunk.kind == DATA:
                streams.add(_PAIR(packet, chunk.start + 8)[0])
            elif chunk.kind == FORWARD_TSN:
                streams.update([_PAIR(packet, at)[0] for at in range(chunk.start + 8, chunk.end, 4)])
        if len(streams) > self.guard.limits.streams:
            raise MalformedPacket("too many SCTP streams")

    def _surplus(self, packet: bytes, chunks: list[Chunk], last: int) -> dict[Chunk, bytes]:
        """DATA chunks that we have no room for; the sender repeats them. Raises if room will never come."""
        limits = self.guard.limits
        ahead = len(self._sack_misordered)
        held = [chunk for stream in self._inbound_streams.values() for chunk in stream.reassembly]
        waiting = len(held)
        buffered = sum([len(chunk.user_data) for chunk in held])
        work = 0
        removed: dict[Chunk, bytes] = {}
        for chunk in chunks:
            if chunk.kind != DATA:
                continue
            distance = (_WORD(packet, chunk.start + 4)[0] - last) & 0xFFFFFFFF
            if distance == 0 or distance >= 0x80000000:
                continue  # seen before: aiortc notes the duplicate and no more
            work += ahead + waiting
            if distance == 1:
                last = (last + 1) & 0xFFFFFFFF
                if waiting >= limits.chunks or buffered > RECEIVE_WINDOW + limits.message_bytes:
                    raise MalformedPacket("a message that does not end fills the receive window")
            elif ahead >= limits.ahead or distance > limits.chunks or buffered >= RECEIVE_WINDOW:
                removed[chunk] = b""
                continue
            else:
                ahead += 1
            if work > limits.work:
                removed[chunk] = b""
                continue
            waiting += 1
            buffered += chunk.end - chunk.start - 16
        return removed

    async def _receive(self, stream_id: int, pp_id: int, data: bytes) -> None:
        """aiortc's delivery of a whole message; it asserts and decodes, so what it would stumble over ends here."""
        if self._deliverable(stream_id, pp_id, data, self._data_channels):
            await super()._receive(stream_id, pp_id, data)
        else:
            self.refused += 1

    def _deliverable(self, stream_id: int, pp_id: int, data: bytes, channels: Container[int]) -> bool:
        limits = self.guard.limits
        if len(data) > limits.message_bytes:
            return False
        if pp_id == _STRING:
            return _is_utf8(data)
        if pp_id != _DCEP:
            return True
        if not self.guard.is_dcep(data):
            return False
        if data[0] == _DCEP_ACK:
            return stream_id in channels
        return stream_id not in channels and len(self._data_channels) < limits.streams
