"""Packetizes the encoded mix as RTP, which the server publishes into the room as tracks.

H.264 uses packetization mode 1 (RFC 6184 5.6–5.8: single units, aggregated parameter sets, fragments); Opus uses one
RTP packet per Opus packet (RFC 7587). Sender reports tie both streams to one clock for lip sync (RFC 3550 6.4.1).
"""

import secrets
import threading
from collections.abc import Callable, Iterator
from typing import Final

from sfu.outputs.encoder import AUDIO_RATE, VIDEO_RATE, EncodedPacket, nal_units, parameter_sets
from sfu.resources.media_clock import NTP_EPOCH, unix_time
from sfu.rtp.codecs.packetizers import h264_payloads
from sfu.rtp.sender import RtpSender

MIN_REPORT_INTERVAL: Final = 1.0


class RtpStream:
    """One stream with its RTP state; `send` gets the packets of one frame. Callers must serialize their calls."""

    def __init__(self, ssrc: int, payload_type: int, rate: int, send: Callable[[list[bytes]], None]) -> None:
        self._sender = RtpSender(ssrc, payload_type, rate, secrets.randbits(15), secrets.randbits(31))
        self._send = send

    def push(self, payloads: list[bytes], pts: int) -> None:
        """Sends one frame and marks its last packet. `pts` in units of the stream's clock rate."""
        self._send(self._sender.packets(payloads, pts))

    def report(self, wall: float, since: float) -> bytes:
        """Encodes a sender report. `wall`: Unix time. `since`: mix time at that moment."""
        return self._sender.report(wall + NTP_EPOCH, since)


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
    return h264_payloads(nal_units(packet.data), sets if packet.keyframe else ())
