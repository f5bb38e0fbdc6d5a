"""A process that publishes over a plain transport: three H.264 encodings of one picture, and Opus with audio levels.

    python -m tests.support.plain_publisher FD

It leaves out every `LOSS`-th packet of the video streams, answers NACKs with RTX (RFC 4588) and PLIs with keyframes, and
ends when the server closes the socket.
"""

import contextlib
import socket
import struct
import sys
import time

import numpy as np

from sfu.egress.rtp_packetizer import payloads
from sfu.outputs.encoder import VIDEO_RATE, OpusEncoder, VideoEncoder, parameter_sets
from sfu.rtp import rtcp
from sfu.transport.plain_transport import AUDIO_EXTENSIONS, PAYLOAD_TYPES, RTX_PAYLOAD_TYPES
from tests.support.wire import rtp

SIZES = {"q": (160, 90), "h": (320, 180), "f": (640, 360)}
SSRCS = {"q": (11, 21), "h": (12, 22), "f": (13, 23)}
"""Media and RTX SSRC by rid."""
AUDIO_SSRC = 31
LEVEL = 17
LOSS = 9
FPS = 25


class VideoStream:
    def __init__(self, rid: str, send: "Sender") -> None:
        width, height = SIZES[rid]
        self.ssrc, self.rtx_ssrc = SSRCS[rid]
        self.encoder = VideoEncoder(width, height, 100_000 * height // 90, FPS, 10_000, profile="baseline")
        self._sets = parameter_sets(self.encoder.extradata)
        self._send = send
        self._sequence = self._rtx_sequence = 100
        self._kept: dict[int, tuple[bytes, int, bool]] = {}

    def push(self, picture: np.ndarray, pts: int) -> None:
        for packet in self.encoder.encode(picture, pts):
            parts = list(payloads(packet, self._sets))
            for index, payload in enumerate(parts):
                self._sequence = (self._sequence + 1) & 0xFFFF
                marker = index == len(parts) - 1
                self._kept[self._sequence] = payload, packet.pts, marker
                self._kept.pop((self._sequence - 300) & 0xFFFF, None)
                if self._sequence % LOSS:
                    self._send(
                        rtp(
                            payload, ssrc=self.ssrc, sequence=self._sequence, timestamp=packet.pts,
                            payload_type=PAYLOAD_TYPES["H264"], marker=marker,
                        )
                    )  # fmt: skip

    def repair(self, sequence: int) -> None:
        if sequence not in self._kept:
            return
        payload, pts, marker = self._kept[sequence]
        self._rtx_sequence = (self._rtx_sequence + 1) & 0xFFFF
        self._send(
            rtp(
                struct.pack("!H", sequence) + payload, ssrc=self.rtx_ssrc, sequence=self._rtx_sequence, timestamp=pts,
                payload_type=RTX_PAYLOAD_TYPES["H264"], marker=marker,
            )
        )  # fmt: skip


class Sender:
    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    def __call__(self, packet: bytes) -> None:
        self._sock.send(struct.pack("!H", len(packet)) + packet)


def main() -> None:
    sock = socket.socket(fileno=int(sys.argv[1]))
    send = Sender(sock)
    videos = {SSRCS[rid][0]: VideoStream(rid, send) for rid in SIZES}
    sound, level_id = OpusEncoder(32_000), next(iter(AUDIO_EXTENSIONS.values()))
    height, width = SIZES["f"][1], SIZES["f"][0]
    audio_sequence, number = 0, 0
    began = time.monotonic()
    while True:
        picture = np.random.default_rng(number).integers(90, 160, (height * 3 // 2, width), np.uint8)
        for video in videos.values():
            video.push(picture, number * VIDEO_RATE // FPS)
        for packet in sound.encode(np.full((1920, 2), 0.1, np.float32), number * 1920):
            audio_sequence += 1
            send(
                rtp(
                    packet.data, ssrc=AUDIO_SSRC, sequence=audio_sequence, timestamp=packet.pts & 0xFFFFFFFF,
                    payload_type=PAYLOAD_TYPES["opus"], extensions={level_id: bytes([LEVEL])},
                )
            )  # fmt: skip
        number += 1
        while (left := began + number / FPS - time.monotonic()) > 0:
            sock.settimeout(left)
            try:
                message = sock.recv(70_000)
            except TimeoutError:
                break
            if not message:
                return
            size = struct.unpack_from("!H", message)[0]
            for at in range(2, len(message), size):
                for each in rtcp.parse(message[at : at + size]):
                    if isinstance(each, rtcp.Nack) and each.media_ssrc in videos:
                        for sequence in each.lost:
                            videos[each.media_ssrc].repair(sequence)
                    elif isinstance(each, rtcp.PictureLossIndication) and each.media_ssrc in videos:
                        videos[each.media_ssrc].encoder.force_keyframe()
        sock.settimeout(None)


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # the server closes the socket
        main()
