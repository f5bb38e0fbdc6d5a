"""aiortc's SCTP association behind the guard, with checks that need the association's state.

It drops input that contradicts the state: a SACK of data that was never sent, data far ahead, an endless fragment, an
unrequested data-channel acknowledgement. Violations raise MalformedPacket. Valid data that does not fit the buffers is
removed from the packet, so that the peer sends it again. RFC 9260. `SctpAssociation` names the private members of aiortc that
it uses; tests/transport/test_sctp_guard.py checks them.
"""

from collections.abc import Container
from struct import Struct

from aiortc import RTCDtlsTransport, RTCSctpTransport
from google_crc32c import value as crc32c

from sfu.errors import MalformedPacket
from sfu.transport.sctp_guard import (
    CHECKSUM,
    DATA,
    DCEP,
    DCEP_ACK,
    FORWARD_TSN,
    INIT,
    NEEDS_PEER,
    PAIR,
    RECEIVE_WINDOW,
    SACK,
    STRING,
    WORD,
    Chunk,
    SctpGuard,
    SctpLimits,
    is_utf8,
    rebuilt,
)

_HEAD = Struct("!4xI4xBxH").unpack_from
"""Verification tag, type and length of the first chunk."""
_DATA = Struct("!IH2xI").unpack_from
"""TSN, stream and payload protocol of a DATA chunk, behind its header."""
_SACK = Struct("!I4xI").unpack_from
"""Cumulative TSN of a SACK, and both its counts as one number."""


class SctpAssociation(RTCSctpTransport):
    """aiortc's SCTP association behind the guard: pass the packets that `check` returns to `_handle_data`.

    Uses of aiortc: `_association_state`, `_local_verification_tag`, `_remote_verification_tag`, `_last_received_tsn`,
    `_sack_misordered`, `_inbound_streams[].reassembly`, `_sent_queue`, `_local_tsn`, `_last_sacked_tsn`,
    `_data_channels`, `_data_channel_queue`, `_receive`.
    """

    def __init__(self, transport: RTCDtlsTransport, port: int = 5000, limits: SctpLimits | None = None) -> None:
        super().__init__(transport, port)
        self.guard = SctpGuard(limits)
        self.refused = 0
        "Messages that were not delivered and chunks that were removed from packets."
        self.acknowledges = False
        "Whether the last checked packet only acknowledges our data."
        self.oversized = 0
        "Bytes of the last message that was too long to deliver; 0: none since the last read."

    def forget(self) -> None:
        """Call after `stop`. Breaks the reference cycle of unsent data, channels and association."""
        self._data_channel_queue.clear()

    def check(self, packet: bytes) -> bytes:
        """Returns the part of a packet that is safe for `_handle_data`. Raises MalformedPacket for violations."""
        self.acknowledges = False
        if self._is_plain(packet):
            self.acknowledges = packet[12] == SACK
            return packet
        chunks = self.guard.chunks(packet)
        self.acknowledges = all(chunk.kind == SACK for chunk in chunks)
        first = chunks[0].kind
        tag = WORD(packet, 4)[0]
        if tag != (0 if first == INIT else self._local_verification_tag):
            raise MalformedPacket("SCTP verification tag is wrong")
        replaced: dict[Chunk, bytes] = {}
        if first == INIT:
            if not self._may_begin(packet, chunks[0]):
                replaced[chunks[0]] = b""
        elif self._last_received_tsn is None:
            replaced = {chunk: b"" for chunk in chunks if chunk.kind in NEEDS_PEER}
        else:
            self._check_sacks(packet, chunks)
            self._check_streams(packet, chunks)
            replaced = self._surplus(packet, chunks, self._last_received_tsn)
            replaced |= self.guard.shortened_sacks(packet, chunks)
        if not replaced:
            return packet
        self.refused += len(replaced)
        return rebuilt(packet, chunks, replaced)

    def _is_plain(self, packet: bytes) -> bool:
        """Whether this is the common case that the checks below accept: the next DATA chunk of a known stream while nothing is
        missing, or a SACK of sent data without gaps.
        """
        size = len(packet)
        if not 28 <= size <= self.guard.limits.packet_bytes:
            return False
        tag, kind, length = _HEAD(packet)
        if (
            tag != self._local_verification_tag
            or not 0 <= size - 12 - length <= -length & 3
            or self._last_received_tsn is None
        ):
            return False
        if kind == DATA:
            if length < 17 or self._sack_misordered:
                return False
            tsn, stream, protocol = _DATA(packet, 16)
            if (
                protocol == DCEP
                or tsn != (self._last_received_tsn + 1) & 0xFFFFFFFF
                or stream not in self._inbound_streams
            ):
                return False
            for each in self._inbound_streams.values():
                if each.reassembly:
                    return False
        elif kind == SACK:
            if length != 16:
                return False
            cumulative, counts = _SACK(packet, 16)
            if counts or (self._local_tsn - 1 - cumulative) & 0xFFFFFFFF >= 0x80000000:
                return False
        else:
            return False
        checksum: int = crc32c(b"".join((packet[:8], b"\0\0\0\0", packet[12:])))
        return bool(checksum == CHECKSUM.unpack_from(packet, 8)[0])

    def _may_begin(self, packet: bytes, chunk: Chunk) -> bool:
        """A late or repeated INIT would reset an established or closed association."""
        states = self.State
        if self._association_state in (states.COOKIE_WAIT, states.COOKIE_ECHOED):
            return True
        same_tag = WORD(packet, chunk.start + 4)[0] == self._remote_verification_tag
        same_tsn = (WORD(packet, chunk.start + 16)[0] - 1) & 0xFFFFFFFF == self._last_received_tsn
        return self._association_state == states.ESTABLISHED and same_tag and same_tsn

    def _check_sacks(self, packet: bytes, chunks: list[Chunk]) -> None:
        """aiortc iterates over every number between the gap bounds, so they must lie within the sent data."""
        for chunk in chunks:
            if chunk.kind != SACK:
                continue
            cumulative = WORD(packet, chunk.start + 4)[0]
            if (cumulative - self._last_sacked_tsn) & 0xFFFFFFFF >= 0x80000000:
                continue  # an old SACK that was overtaken; aiortc ignores it
            if (self._local_tsn - 1 - cumulative) & 0xFFFFFFFF >= 0x80000000:
                raise MalformedPacket("SACK of data that was never sent")
            gaps, _ = PAIR(packet, chunk.start + 12)
            if gaps and PAIR(packet, chunk.start + 12 + 4 * gaps)[1] > len(self._sent_queue):
                raise MalformedPacket("SACK of gaps beyond what was sent")

    def _check_streams(self, packet: bytes, chunks: list[Chunk]) -> None:
        streams = set(self._inbound_streams)
        for chunk in chunks:
            if chunk.kind == DATA:
                streams.add(PAIR(packet, chunk.start + 8)[0])
            elif chunk.kind == FORWARD_TSN:
                streams.update([PAIR(packet, at)[0] for at in range(chunk.start + 8, chunk.end, 4)])
        if len(streams) > self.guard.limits.streams:
            raise MalformedPacket("too many SCTP streams")

    def _surplus(self, packet: bytes, chunks: list[Chunk], last: int) -> dict[Chunk, bytes]:
        """DATA chunks without room in the buffers; the sender repeats them. Raises when room can never come."""
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
            distance = (WORD(packet, chunk.start + 4)[0] - last) & 0xFFFFFFFF
            if distance == 0 or distance >= 0x80000000:
                continue  # a duplicate: aiortc only records it
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
        """Overrides aiortc's delivery of a message. aiortc asserts and decodes, so invalid messages are dropped here."""
        if self._deliverable(stream_id, pp_id, data, self._data_channels):
            await super()._receive(stream_id, pp_id, data)
        else:
            self.refused += 1

    def _deliverable(self, stream_id: int, pp_id: int, data: bytes, channels: Container[int]) -> bool:
        limits = self.guard.limits
        if len(data) > limits.message_bytes:
            self.oversized = len(data)
            return False
        if pp_id == STRING:
            return is_utf8(data)
        if pp_id != DCEP:
            return True
        if not self.guard.is_dcep(data):
            return False
        if data[0] == DCEP_ACK:
            return stream_id in channels
        return stream_id not in channels and len(self._data_channels) < limits.streams
