"""Packetizes the encoded mix as RTP, which the server publishes into the room as tracks.

H.264 uses packetization mode 1 (RFC 6184 5.6–5.8: single units, aggregated parameter sets, fragments); Opus uses one
RTP packet per Opus packet (RFC 7587). Sender reports tie both streams to one clock for lip sync (RFC 3550 6.4.1).
"""

import secrets
import struct
import threading
from collections.abc import Callable, Iterator
from typing import Final

from sfu.outputs.encoder import AUDIO_RATE, VIDEO_RATE, EncodedPacket, nal_units, parameter_sets
from sfu.resources.media_clock import NTP_EPOCH, unix_time
from sfu.rtp import rtcp
from sfu.rtp.rtcp import SenderReport

MAX_PAYLOAD_BYTES: Final = 1180
"""Maximum RTP payload in bytes: with headers and SRTP overhead it must fit a path MTU of 1280."""
MIN_REPORT_INTERVAL: Final = 1.0
_IDR, _STAP_A, _FU_A = 5, 24, 28
_HEAD: Final = struct.Struct("!BBHII")


class RtpStream:
    """RTP header state of one stream; `send` gets the packets of one frame. Callers must serialize their calls."""

    def __init__(self, ssrc: int, payload_type: int, rate: int, send: Callable[[list[bytes]], None]) -> None:
        self.ssrc = ssrc
        self._payload_type = payload_type
        self._rate = rate
        self._send = send
        self._sequence = secrets.randbits(15)
        self._base = secrets.randbits(31)
        self._packets = self._octets = 0

    def push(self, payloads: list[bytes], pts: int) -> None:
        """Sends one frame and marks its last packet. `pts` in units of the stream's clock rate."""
        timestamp = (self._base + pts) & 0xFFFFFFFF
        packets = []
        for index, payload in enumerate(payloads):
            marker = 0x80 if index == len(payloads) - 1 else 0
            head = _HEAD.pack(0x80, self._payload_type | marker, self._sequence, timestamp, self.ssrc)
            packets.append(head + payload)
            self._sequence = (self._sequence + 1) & 0xFFFF
            self._octets += len(payload)
        self._packets += len(packets)
        self._send(packets)

    def report(self, wall: float, since: float) -> bytes:
        """Encodes a sender report. `wall`: Unix time. `since`: mix time at that moment."""
        timestamp = (self._base + int(since * self._rate)) & 0xFFFFFFFF
        ntp = int((wall + NTP_EPOCH) * (1 << 32))
        return rtcp.encode_sender_report(
            SenderReport(self.ssrc, ntp, timestamp, self._packets & 0xFFFFFFFF, self._octets & 0xFFFFFFFF, ())
        )


class RtpPacketizer:
    """Packetizes both streams. The tick thread calls `video`; the sound thread calls `audio`."""

    def __init__(
        self,
        video_ssrc: int,
        audio_ssrc: int,
        payload_types: tuple[int, int],
        extradata: bytes,
        started_at: float,
        send: Callable[[list[bytes]], None],
    ) -> None:
        """`payload_types`: of H.264 and Opus. `extradata`: avcC record. `started_at`: Unix time of mix time 0."""
        self.ssrcs = (video_ssrc, audio_ssrc)
        self._sets = parameter_sets(extradata)
        self._started_at = started_at
        self._send = send
        self._video = RtpStream(video_ssrc, payload_types[0], VIDEO_RATE, send)
        self._audio = RtpStream(audio_ssrc, payload_types[1], AUDIO_RATE, send)
        self._lock = threading.Lock()
        self._reported = 0.0

    def video(self, packets: list[EncodedPacket]) -> None:
        with self._lock:
            for packet in packets:
                self._video.push(list(payloads(packet, self._sets)), packet.pts)
            self._report()

    def audio(self, packets: list[EncodedPacket]) -> None:
        with self._lock:
            for packet in packets:
                self._audio.push([packet.data], packet.pts)

    def _report(self) -> None:
        wall = unix_time()
        if wall - self._reported < MIN_REPORT_INTERVAL:
            return
        self._reported = wall
        since = wall - self._started_at
        for stream in (self._video, self._audio):
            self._send([stream.report(wall, since)])


def payloads(packet: EncodedPacket, sets: list[bytes]) -> Iterator[bytes]:
    """Splits a picture into RTP payloads. A keyframe begins with its parameter sets in one STAP-A packet."""
    units = nal_units(packet.data)
    if packet.keyframe and sets:
        yield bytes((_STAP_A | sets[0][0] & 0x60,)) + b"".join(struct.pack("!H", len(unit)) + unit for unit in sets)
    for unit in units:
        if len(unit) <= MAX_PAYLOAD_BYTES:
            yield unit
            continue
        head, body = unit[0], unit[1:]
        for at in range(0, len(body), MAX_PAYLOAD_BYTES - 2):
            edge = (0x80 if at == 0 else 0) | (0x40 if at + MAX_PAYLOAD_BYTES - 2 >= len(body) else 0)
            yield bytes((head & 0xE0 | _FU_A, edge | head & 0x1F)) + body[at : at + MAX_PAYLOAD_BYTES - 2]
