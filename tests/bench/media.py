"""Media of the synthetic publishers and its check by subscribers: VP8-like and opus-like packets of a fixed size.

The payload ends with the packet's number and the moment it was made; everything between the codec's header and these is
one known pattern. Real enough for a server that reads VP8 payload descriptors and frame tags (RFC 7741), not for a decoder.
"""

import struct
import time
from collections.abc import Iterator

from tests.bench.descriptions import EXT_LEVEL, EXT_MID, EXT_RID, EXT_SEND_TIME, EXT_TRANSPORT_CC, OPUS, VP8

VIDEO_SIZE = 1200
"""Bytes of a video packet before SRTP's tag, header included."""
AUDIO_SIZE = 120
STAMP = struct.Struct("!QQ")
PATTERN = bytes((i * 37 + 11) & 255 for i in range(VIDEO_SIZE))
MID_PACKETS = 50
"""Packets that carry mid and rid; browsers stop once they hear that the packets arrive."""
KEY_HEAD = b"\x10\x02\x00\x9d\x01\x2a\x80\x02\x68\x01"
"""A VP8 frame tag of a keyframe, shown, and 640 × 360 (RFC 6386 9.1)."""
INTER_HEAD = b"\x11\x02\x00"

_HEADER = struct.Struct("!BBHII")


class Counters:
    """Transport-wide sequence numbers of one connection."""

    __slots__ = ("number",)

    def __init__(self) -> None:
        self.number = 0

    def next(self) -> int:
        self.number = (self.number + 1) & 0xFFFF
        return self.number


class Encoding:
    """One RTP stream to send. `frame` yields the packets of the next frame, not yet sealed."""

    def __init__(self, kind: str, ssrc: int, mid: str, counters: Counters, rid: str = "", size: int = 0) -> None:
        self.video = kind == "video"
        self.ssrc = ssrc
        self.rid = rid
        self.sent = 0
        self.octets = 0
        self.timestamp = ssrc & 0xFFFF
        self.keyframe_wanted = True
        self._counters = counters
        self._sequence = ssrc & 0x3FFF
        self._picture = ssrc & 0x3FFF
        self._size = size or (VIDEO_SIZE if self.video else AUDIO_SIZE)
        self._payload_type = VP8 if self.video else OPUS
        self._names = bytes((EXT_MID << 4 | len(mid) - 1,)) + mid.encode()
        if rid:
            self._names += bytes((EXT_RID << 4 | len(rid) - 1,)) + rid.encode()

    def frame(self, packets: int, elapsed: float) -> Iterator[bytes]:
        """`elapsed`: seconds of media since the last frame. Each packet is made when it is asked for."""
        self.timestamp = (self.timestamp + int(elapsed * (90_000 if self.video else 48_000))) & 0xFFFFFFFF
        self._picture = (self._picture + 1) & 0x7FFF
        key, self.keyframe_wanted = self.keyframe_wanted, False
        for index in range(packets):
            yield self._packet(index == 0, index == packets - 1, key)

    def _packet(self, first: bool, last: bool, key: bool) -> bytes:
        self._sequence = (self._sequence + 1) & 0xFFFF
        now = time.time_ns()
        ticks = now * 262_144 // 1_000_000_000 & 0xFFFFFF
        extension = struct.pack("!BHB", EXT_TRANSPORT_CC << 4 | 1, self._counters.next(), EXT_SEND_TIME << 4 | 2)
        extension += ticks.to_bytes(3, "big")
        if not self.video:
            extension += bytes((EXT_LEVEL << 4, 0x80 | 40))
        if self.sent < MID_PACKETS:
            extension += self._names
        extension += bytes(-len(extension) & 3)
        head = _HEADER.pack(
            0x90, self._payload_type | (0x80 if last and self.video else 0), self._sequence, self.timestamp, self.ssrc
        )
        head += struct.pack("!HH", 0xBEDE, len(extension) >> 2) + extension
        if self.video:
            head += struct.pack(
                "!BBHBB", 0x90 if first else 0x80, 0xE0, 0x8000 | self._picture, self._picture & 255, 0x20
            )
            if first:
                head += KEY_HEAD if key else INTER_HEAD
        body = self._size - len(head) - STAMP.size
        self.sent += 1
        self.octets += self._size
        return b"".join((head, PATTERN[:body], STAMP.pack(self.sent, now)))


class Checked:
    """Follows one decrypted stream: sequence numbers without gaps, packets whole and in order. Counts what is not."""

    __slots__ = ("_number", "_sequence", "broken", "gaps", "latencies", "packets", "reordered")

    def __init__(self) -> None:
        self._sequence = self._number = -1
        self.packets = self.gaps = self.reordered = self.broken = 0
        self.latencies: list[int] = []
        """Nanoseconds from the making of the packet to its arrival."""

    def take(self, packet: bytes, arrival: int) -> None:
        """An opened RTP packet and the kernel's time of arrival, ns since the epoch."""
        start = 12 + 4 * (packet[0] & 15)
        if packet[0] & 0x10:
            start += 4 + 4 * int.from_bytes(packet[start + 2 : start + 4], "big")
        end = len(packet) - (packet[-1] if packet[0] & 0x20 else 0)
        stamp = end - STAMP.size
        sequence = packet[2] << 8 | packet[3]
        number, made = STAMP.unpack_from(packet, stamp)
        # behind any descriptor and frame tag; the pattern's place tells how long they were
        tail = packet[start + 16 : stamp]
        shift = PATTERN.find(tail[:8])
        if shift < 0 or tail != PATTERN[shift : shift + len(tail)]:
            self.broken += 1
        if self.packets:
            step = (sequence - self._sequence) & 0xFFFF
            if step == 0 or step > 0x8000:
                self.reordered += 1
            elif step != 1:
                self.gaps += step - 1
            elif number != self._number + 1:
                self.broken += 1
        self._sequence, self._number = sequence, number
        self.packets += 1
        self.latencies.append(arrival - made)
