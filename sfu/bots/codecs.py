"""VP8 and Opus codecs through PyAV, configured for many small live streams. Only this module encodes and decodes."""

from fractions import Fraction
from typing import Final

import av
import numpy as np
from av.video.frame import PictureType
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

VIDEO_CLOCK: Final = Fraction(1, 90_000)
AUDIO_CLOCK: Final = Fraction(1, 48_000)
OPUS_BITRATE: Final = 24_000


class VideoEncoder:
    """Encodes one VP8 stream of a fixed size; frames of other sizes are scaled."""

    def __init__(self, width: int, height: int, bitrate: int, fps: float) -> None:
        self._width, self._height = width, height
        codec = av.CodecContext.create("libvpx", "w")
        assert isinstance(codec, av.VideoCodecContext)
        codec.width, codec.height = width, height
        codec.pix_fmt = "yuv420p"
        codec.bit_rate = bitrate
        codec.gop_size = 100_000  # keyframes only on request
        codec.time_base = VIDEO_CLOCK
        codec.framerate = Fraction(fps).limit_denominator(1001)
        codec.thread_count = 1
        codec.options = {
            "deadline": "realtime",
            "cpu-used": "-16",
            "lag-in-frames": "0",
            "bufsize": str(bitrate // 2),
            "minrate": str(bitrate),
            "maxrate": str(bitrate),
            "static-thresh": "100",
        }
        self._codec = codec
        # Reused: setting up a scaler for each frame costs five times as much as scaling it.
        self._scaler = VideoReformatter()

    def encode(self, frame: av.VideoFrame, timestamp: int, key: bool) -> tuple[bytes, bool]:
        """Returns the encoded frame, empty if the encoder dropped it, and whether it is a keyframe. `timestamp` at 90 kHz."""
        if frame.width != self._width or frame.height != self._height or frame.format.name != "yuv420p":
            frame = self._scaler.reformat(
                frame, self._width, self._height, "yuv420p", interpolation="FAST_BILINEAR", threads=1
            )
        frame.pts, frame.time_base = timestamp, VIDEO_CLOCK
        frame.pict_type = PictureType.I if key else PictureType.NONE
        data, is_key = b"", False
        for packet in self._codec.encode(frame):
            data += bytes(packet)
            is_key = is_key or packet.is_keyframe
        return data, is_key


class SoundEncoder:
    """Encodes mono Opus in frames of 20 ms."""

    def __init__(self) -> None:
        codec = av.CodecContext.create("libopus", "w")
        assert isinstance(codec, av.AudioCodecContext)
        codec.bit_rate = OPUS_BITRATE
        codec.format, codec.layout, codec.sample_rate = "s16", "mono", 48_000
        codec.options = {"application": "voip"}
        self._codec = codec

    def encode(self, samples: bytes, timestamp: int) -> bytes:
        """`samples`: 960 mono samples of 16 bits; `timestamp` at 48 kHz."""
        frame = av.AudioFrame.from_ndarray(np.frombuffer(samples, np.int16)[None, :], format="s16", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = 48_000, timestamp, AUDIO_CLOCK
        return b"".join(bytes(packet) for packet in self._codec.encode(frame))


class VideoDecoder:
    """Decodes one VP8 stream."""

    def __init__(self) -> None:
        self._codec = av.CodecContext.create("libvpx", "r")

    def decode(self, data: bytes, timestamp: int) -> NDArray[np.uint8] | None:
        """The luma plane of shape (height, width); None if decoding failed or produced no picture."""
        packet = av.Packet(data)
        packet.pts, packet.time_base = timestamp, VIDEO_CLOCK
        luma = None
        try:
            for frame in self._codec.decode(packet):
                assert isinstance(frame, av.VideoFrame)
                plane = frame.planes[0]
                rows = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)
                luma = rows[: frame.height, : frame.width].copy()
        except av.FFmpegError:
            return None
        return luma


class SoundDecoder:
    def __init__(self) -> None:
        codec = av.CodecContext.create("libopus", "r")
        assert isinstance(codec, av.AudioCodecContext)
        codec.format, codec.layout, codec.sample_rate = "s16", "mono", 48_000
        self._codec = codec

    def decode(self, data: bytes) -> NDArray[np.int16] | None:
        """Mono samples at 48 kHz."""
        try:
            frames = self._codec.decode(av.Packet(data))
        except av.FFmpegError:
            return None
        parts = []
        for frame in frames:
            assert isinstance(frame, av.AudioFrame)
            samples = frame.to_ndarray()
            channels = len(frame.layout.channels)
            flat = samples.reshape(-1, channels)[:, 0] if frame.format.is_packed else samples[0]
            parts.append(flat if flat.dtype == np.int16 else (flat * 32767).astype(np.int16))
        return np.concatenate(parts) if parts else None
