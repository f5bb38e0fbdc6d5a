"""RTP by hand, and an engine that seals nothing: what the forwarding tests send and read."""

import struct
from dataclasses import dataclass, field

from sfu.forwarding.down_track import DownTrack
from sfu.forwarding.engine import Engine
from sfu.forwarding.fanout import Length
from sfu.forwarding.packet_log import PacketLog
from sfu.forwarding.peer import EnginePeer
from sfu.forwarding.peer_transport import Address, Pointer
from sfu.forwarding.track import Track
from sfu.ids import PeerId
from sfu.sdp import capabilities as caps

EXTENSIONS = {caps.URI_MID: 4, caps.URI_RID: 10, caps.URI_REPAIRED_RID: 11, caps.URI_TRANSPORT_CC: 3}
AUDIO_EXTENSIONS = {caps.URI_MID: 4, caps.URI_AUDIO_LEVEL: 1, caps.URI_TRANSPORT_CC: 3}


class PlainSealer:
    """Leaves packets as they are, but for a tag of 16 zero bytes."""

    def __init__(self) -> None:
        self.memory = bytearray(70_000)
        self.view = memoryview(self.memory)
        self.base: Pointer = 0
        self.length: Length = [0]

    def protect(self, context: object, pointer: Pointer, length: Length) -> int:
        assert isinstance(pointer, int)
        self.memory[pointer + length[0] : pointer + length[0] + 16] = bytes(16)
        length[0] += 16
        return 0

    def encrypt_rtcp(self, context: object, data: bytes) -> memoryview:
        return memoryview(bytes(data))


@dataclass
class Wire:
    """An Outlet that keeps what is sent."""

    segments: bool = True
    sent: list[bytes] = field(default_factory=list)
    full: bool = False
    tag: int = 16

    def send(self, data: memoryview | bytes, address: Address) -> bool:
        if not self.full:
            self.sent.append(bytes(data))
        return not self.full

    def send_segments(self, data: memoryview, size: int, address: Address) -> bool:
        for at in range(0, len(data), size):
            self.send(data[at : at + size], address)
        return not self.full

    def take(self) -> list[bytes]:
        sent, self.sent = self.sent, []
        return sent

    def media(self) -> list["Rtp"]:
        return [Rtp.parse(data[: len(data) - self.tag]) for data in self.take() if not 191 < data[1] < 224]

    def rtcp(self) -> list[bytes]:
        return [data for data in self.take() if 191 < data[1] < 224]


@dataclass
class Rtp:
    """A received packet, taken apart."""

    payload_type: int
    marker: bool
    sequence: int
    timestamp: int
    ssrc: int
    extensions: dict[int, bytes]
    payload: bytes

    @classmethod
    def parse(cls, data: bytes) -> "Rtp":
        b0, b1, sequence, timestamp, ssrc = struct.unpack_from("!BBHII", data)
        assert b0 >> 6 == 2
        at = 12
        extensions: dict[int, bytes] = {}
        if b0 & 0x10:
            profile, words = struct.unpack_from("!HH", data, at)
            at, end = at + 4, at + 4 + words * 4
            while at < end:
                if data[at] == 0:
                    at += 1
                elif profile == 0xBEDE:
                    size = (data[at] & 15) + 1
                    extensions[data[at] >> 4] = data[at + 1 : at + 1 + size]
                    at += 1 + size
                else:
                    size = data[at + 1]
                    extensions[data[at]] = data[at + 2 : at + 2 + size]
                    at += 2 + size
            at = end
        end = len(data) - (data[-1] if b0 & 0x20 else 0)
        return cls(b1 & 127, bool(b1 & 128), sequence, timestamp, ssrc, extensions, data[at:end])


def rtp(
    payload: bytes,
    *,
    ssrc: int,
    sequence: int,
    timestamp: int,
    payload_type: int = 96,
    extensions: dict[int, bytes] | None = None,
    marker: bool = False,
) -> bytes:
    block = b""
    for number, value in (extensions or {}).items():
        block += bytes((number << 4 | len(value) - 1,)) + value
    block += bytes(-len(block) % 4)
    header = struct.pack(
        "!BBHII", 0x90 if block else 0x80, payload_type | (0x80 if marker else 0), sequence & 0xFFFF, timestamp, ssrc
    )
    if block:
        header += struct.pack("!HH", 0xBEDE, len(block) // 4) + block
    return header + payload


def engine_track(down_track: DownTrack) -> Track:
    """The track of `down_track`, with its encodings."""
    assert isinstance(down_track.track, Track)
    return down_track.track


def vp8(
    *, key: bool = False, picture: int = 1, tl0: int = 1, begin: bool = True, size: int = 100, temporal: int = 0,
    sync: bool = True, bits: int = 15,
) -> bytes:  # fmt: skip
    """A VP8 payload with picture id (of 7 or 15 bits) and TL0PICIDX; a keyframe says 640 × 360."""
    number = bytes((0x80 | picture >> 8, picture & 0xFF)) if bits == 15 else bytes((picture & 0x7F,))
    layer = temporal << 6 | (0x20 if sync else 0)
    head = bytes((0x90 if begin else 0x80, 0xE0, *number, tl0, layer))
    frame = struct.pack("<BBB", 0x10 if key else 0x11, 0, 0)
    if key:
        frame += b"\x9d\x01\x2a" + struct.pack("<HH", 640, 360)
    return head + frame + bytes(size)


class Bench:
    """One engine, a publisher, and subscribers with wires."""

    def __init__(self, *, segments: bool = True, packet_log: PacketLog | None = None) -> None:
        self.engine = Engine(PlainSealer(), segments=segments, packet_log=packet_log)
        self.now = 100.0
        self.count = 0
        self.uplink = Wire()
        self.publisher = self.peer(self.uplink)

    def peer(self, wire: Wire) -> EnginePeer:
        self.count += 1
        peer = self.engine.open_peer(PeerId(self.count), 1000 + self.count)
        self.engine.set_srtp_sessions(peer, object(), object(), 16)
        self.engine.set_peer_address(peer, wire, ("192.0.2.1", 5000 + self.count))
        return peer

    def video(
        self,
        rids: tuple[str, ...] = ("q", "h", "f"),
        codec: str = "VP8",
        ssrcs: tuple[tuple[int, int | None], ...] = (),
    ) -> Track:
        return self.engine.add_track(
            self.publisher, mid="1", kind="video", codec=codec, parameters="", clock_rate=90_000,
            payload_types={96: codec}, rtx={97: 96}, extensions=EXTENSIONS, rids=rids, ssrcs=ssrcs,
        )  # fmt: skip

    def audio(self, *, red: bool = False) -> Track:
        return self.engine.add_track(
            self.publisher, mid="0", kind="audio", codec="opus", parameters="", clock_rate=48_000,
            payload_types={111: "opus"} | ({63: "red"} if red else {}), rtx={}, extensions=AUDIO_EXTENSIONS, rids=(),
            ssrcs=(),
        )  # fmt: skip

    def down_track(self, track: Track, peer: EnginePeer, *, red: bool = False, number: int = 0) -> DownTrack:
        return self.engine.add_down_track(
            track, peer, mid="00", ssrc=7_000_000 + number, rtx_ssrc=8_000_000 + number,
            payload_type=100 if track.kind == "video" else 111, red_payload_type=63 if red else None,
            rtx_payload_type=101 if track.kind == "video" else None, first_sequence=500, cname="alice",
        )  # fmt: skip

    def send(self, *packets: bytes) -> None:
        """Packets of one batch, from the publisher."""
        buffer = bytearray(2048)
        for packet in packets:
            buffer[: len(packet)] = packet
            self.engine.receive(self.publisher, memoryview(buffer), len(packet), self.now)
        self.engine.flush(self.now)

    def tick(self, seconds: float) -> None:
        until = self.now + seconds
        while self.now < until:
            self.now += 0.025
            self.engine.handle_timer(self.now, self.now + 3_000_000_000)
