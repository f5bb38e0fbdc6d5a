"""Assembles RTP packets into coded frames, for decoding in the mixer and for single-track recording.

A frame is complete when its marker bit arrives and no earlier packet is missing. Waiting for the next timestamp instead
would add the duration of a frame. RFC 3550 section 5.1. Payloads: `sfu.rtp.codecs.depacketizers`. Redundant audio: RFC
2198.
"""

from collections import deque
from typing import Final, NamedTuple

from sfu.errors import MalformedPacket
from sfu.rtp import red
from sfu.rtp.codecs.depacketizers import Depacketizer, depacketizer
from sfu.rtp.packet import Buffer, Header, extensions, parse_header
from sfu.rtp.sequence import difference

VIDEO_ORIENTATION_ID: Final = 5
"""Extension id that this server uses for `urn:3gpp:video-orientation` in all outgoing packets (`sfu.sdp.capabilities`).
"""
RETRANSMISSION_TIMEOUT: Final = 0.1
"""Seconds to wait for the retransmission of a missing packet."""
PACKET_LIMIT: Final = 4096
"""Maximum number of packets that wait behind a gap or belong to an unfinished frame."""
BYTE_LIMIT: Final = 8_000_000
"""Maximum size of these packets in bytes."""
_JUMP = 8192
"""A larger sequence number distance indicates another stream."""
_LATE = 1024
"""A packet that is behind by at most this distance is late or a duplicate."""
_STALE_LIMIT = 64
"""After this many old numbers in a row, the sender is assumed to have restarted."""
_RECENT_AUDIO = 64


class CodedFrame(NamedTuple):
    data: bytes
    "One access unit (VP8 or VP9 frame, Annex B H.264, AV1 temporal unit) or one Opus packet."
    timestamp: int
    "RTP timestamp, unwrapped."
    keyframe: bool
    arrival: float
    "Arrival of the last packet, monotonic seconds."
    rotation: int
    "Clockwise rotation for display in degrees (urn:3gpp:video-orientation)."


class _Packet(NamedTuple):
    payload: bytes
    timestamp: int
    marker: bool
    begins_keyframe: bool
    arrival: float
    rotation: int
    "-1: not given in the packet."


class FrameAssembler:
    """Assembles the RTP packets of one received stream into coded frames, in order.

    At a gap it waits `RETRANSMISSION_TIMEOUT` for the retransmission, then continues at the next keyframe and sets
    `wants_keyframe` until then. The owner must call `handle_timer` at least a few times a second. Audio is returned as
    it arrives, without duplicates; a RED stream also restores lost packets from its older blocks.
    """

    __slots__ = (
        "_audio", "_bytes", "_depacketizer", "_gap", "_next", "_parts", "_pending", "_recent", "_red", "_rotation",
        "_stale", "_timestamp", "dropped", "wants_keyframe",
    )  # fmt: skip

    def __init__(self, codec: str, *, audio: bool = False) -> None:
        self.wants_keyframe = not audio
        self.dropped = 0
        "Frames that were started but could not be completed."
        self._audio = audio
        self._red = codec.lower() == "red"
        self._depacketizer: Depacketizer | None = None if audio else depacketizer(codec)
        self._recent: deque[int] = deque(maxlen=_RECENT_AUDIO)
        self._pending: dict[int, _Packet] = {}
        self._parts: list[_Packet] = []
        self._bytes = 0
        self._next = -1
        self._gap: tuple[int, float] | None = None
        self._rotation = 0
        self._stale = 0
        self._timestamp = -1

    @property
    def spatial_limit(self) -> int:
        """Highest spatial layer of an SVC stream to output."""
        return self._depacketizer.spatial if self._depacketizer else 0

    @spatial_limit.setter
    def spatial_limit(self, spatial: int) -> None:
        if self._depacketizer:
            self._depacketizer.spatial = spatial

    def receive(self, packet: Buffer, now: float) -> list[CodedFrame]:
        """Returns the frames that this packet completes. Raises MalformedPacket and then leaves the state unchanged."""
        header = parse_header(packet)
        if self._audio:
            return self._receive_audio(packet, header, now)
        if header.payload_start == header.payload_end:
            found = _Packet(b"", header.timestamp, False, False, now, -1)  # padding: only the sequence number counts
        else:
            assert self._depacketizer is not None
            payload = bytes(packet[header.payload_start : header.payload_end])
            keyframe = self._depacketizer.begins_keyframe(payload)
            found = _Packet(payload, header.timestamp, header.marker, keyframe, now, _rotation(packet, header))
        if not self._place(header.sequence, found):
            return []
        frames = self._drain()
        if self._gap is not None:
            frames += self.handle_timer(now)
        return frames

    def handle_timer(self, now: float) -> list[CodedFrame]:
        """Gives up on a gap after `RETRANSMISSION_TIMEOUT`, or when a later keyframe makes the missing packets unnecessary."""
        frames: list[CodedFrame] = []
        while self._gap is not None:
            order = sorted(self._pending, key=lambda sequence: (sequence - self._next) & 0xFFFF)
            keyframe = next((number for number in order if self._pending[number].begins_keyframe), None)
            pointless = keyframe is not None and self.wants_keyframe and not self._parts
            if not pointless and now - self._gap[1] < RETRANSMISSION_TIMEOUT:
                break
            self._abandon()
            target = order[0] if keyframe is None else keyframe
            for number in order[: order.index(target)]:
                self._bytes -= len(self._pending.pop(number).payload)
            self._next = target
            frames += self._drain()
        return frames

    def _place(self, sequence: int, packet: _Packet) -> bool:
        """Returns whether the packet was added to the pending packets."""
        if self._next < 0:
            self._next = sequence
        ahead = difference(sequence, self._next)
        if -_LATE <= ahead < 0:
            return False
        if ahead < 0 or ahead > _JUMP:
            self._stale += 1
            if -_JUMP <= ahead < 0 and self._stale < _STALE_LIMIT:
                return False
            self._start_at(sequence)
        elif sequence in self._pending:
            return False
        self._stale = 0
        if len(self._pending) + len(self._parts) >= PACKET_LIMIT or self._bytes + len(packet.payload) > BYTE_LIMIT:
            self._start_at(sequence)
        self._pending[sequence] = packet
        self._bytes += len(packet.payload)
        return True

    def _start_at(self, sequence: int) -> None:
        self._abandon()
        self._pending.clear()
        self._bytes = 0
        self._gap = None
        self._next = sequence

    def _drain(self) -> list[CodedFrame]:
        frames: list[CodedFrame] = []
        while (packet := self._pending.pop(self._next, None)) is not None:
            self._next = (self._next + 1) & 0xFFFF
            if self._parts and packet.payload and packet.timestamp != self._parts[0].timestamp:
                self._finish(frames)  # no marker bit, but nothing is missing
            if not packet.payload or (self.wants_keyframe and not self._parts and not packet.begins_keyframe):
                self._bytes -= len(packet.payload)
                continue
            self._parts.append(packet)
            if packet.marker:
                self._finish(frames)
        if not self._pending:
            self._gap = None
        elif self._gap is None or self._gap[0] != self._next:
            behind = min(self._pending, key=lambda sequence: (sequence - self._next) & 0xFFFF)
            self._gap = self._next, self._pending[behind].arrival
        return frames

    def _finish(self, frames: list[CodedFrame]) -> None:
        parts, self._parts = self._parts, []
        self._bytes -= sum([len(part.payload) for part in parts])
        keyframe = any(part.begins_keyframe for part in parts)
        assert self._depacketizer is not None
        try:
            data = self._depacketizer.join([part.payload for part in parts])
        except MalformedPacket:
            self.dropped += 1
            self.wants_keyframe = True
            return
        for part in parts:
            if part.rotation >= 0:
                self._rotation = part.rotation
        if not data:
            return  # parameter sets only, or a layer above the limit
        if keyframe:
            self.wants_keyframe = False
        arrival = max([part.arrival for part in parts])
        frames.append(CodedFrame(data, self._unwrap(parts[0].timestamp), keyframe, arrival, self._rotation))

    def _abandon(self) -> None:
        if self._parts:
            self.dropped += 1
            self._bytes -= sum([len(part.payload) for part in self._parts])
            self._parts = []
        self.wants_keyframe = True

    def _unwrap(self, timestamp: int) -> int:
        newest = self._timestamp
        if newest < 0:
            newest = timestamp
        found = newest + ((timestamp - newest + 0x8000_0000) & 0xFFFF_FFFF) - 0x8000_0000
        self._timestamp = max(found, newest)
        return found

    def _receive_audio(self, packet: Buffer, header: Header, now: float) -> list[CodedFrame]:
        start, end = header.payload_start, header.payload_end
        ahead = difference(header.sequence, self._next) if self._next >= 0 else 1
        if ahead > 0:
            self._next = header.sequence
            if self._recent and self._unwrap(header.timestamp) < self._recent[-1]:
                self._recent.clear()  # a newer packet with an older timestamp: the sender's clock stepped back
        found: list[tuple[int, bytes]] = []
        if self._red:
            _, begin, _ = red.primary(packet, start, end)
            # The first packet has no known predecessors, so its redundant blocks are ignored.
            for block in red.redundant(packet, start, end) if self._recent else ():
                data = bytes(packet[block.start : block.end])
                found.append(((header.timestamp - block.timestamp_offset) & 0xFFFF_FFFF, data))
            start = begin
        found.append((header.timestamp, bytes(packet[start:end])))
        frames = []
        for timestamp, data in found:
            unwrapped = self._unwrap(timestamp)
            if self._recent and unwrapped < self._recent[0]:
                self._stale += 1
                if self._stale < _STALE_LIMIT:
                    continue
                self._recent.clear()
            if not data or unwrapped in self._recent:
                continue
            self._stale = 0
            self._recent.append(unwrapped)
            frames.append(CodedFrame(data, unwrapped, True, now, 0))
        return frames


def _rotation(packet: Buffer, header: Header) -> int:
    """3GPP TS 26.114 7.4.5: the low two bits are quarter turns. -1: not given in the packet."""
    if not header.extension_profile:
        return -1
    for identifier, offset, length in extensions(
        packet, header.extension_start, header.extension_end, header.extension_profile
    ):
        if identifier == VIDEO_ORIENTATION_ID and length:
            return 90 * (packet[offset] & 0x03)
    return -1
