"""Video decoders of libav, configured for low delay.

They run single-threaded, because at these sizes threads only add delay, and output each picture at once. libav itself
rejects pictures of more than `MAX_PIXELS` before it allocates memory for them.
"""

from typing import Final

from av.codec.context import Flags
from av.error import FFmpegError
from av.packet import Packet
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame

MAX_PIXELS: Final = 4096 * 2304
_NAMES: Final = {"vp8": "vp8", "vp9": "vp9", "h264": "h264", "av1": "libdav1d"}
_FAILURES: Final = 3
"""Failures in a row after which the decoder is replaced."""


class Decoder:
    """Decodes one stream; used by one thread. `failed` counts the access units that could not be decoded."""

    __slots__ = ("_codec", "_context", "_failing", "failed")

    def __init__(self, codec: str) -> None:
        """`codec`: `VP8`, `VP9`, `H264` or `AV1`, case-insensitive. Raises ValueError for others."""
        name = _NAMES.get(codec.lower())
        if name is None:
            raise ValueError(f"no decoder for {codec!r}")
        self._codec = name
        self._context = _open(name)
        self._failing = 0
        self.failed = 0

    def decode(self, data: bytes) -> VideoFrame | None:
        """Decodes one access unit. If the decoder outputs spatial layers separately, returns the last one.

        Raises FFmpegError if decoding fails; decoding can then resume at a keyframe.
        """
        try:
            frames = self._context.decode(Packet(data))
        except FFmpegError:
            self.failed += 1
            self._failing += 1
            if self._failing >= _FAILURES:
                self._failing = 0
                self._context = _open(self._codec)
            raise
        self._failing = 0
        if not frames:
            return None
        frame = frames[-1]
        return frame if 0 < frame.width * frame.height <= MAX_PIXELS else None


def _open(name: str) -> VideoCodecContext:
    context = VideoCodecContext.create(name, "r")
    assert isinstance(context, VideoCodecContext)
    context.thread_count = 1
    context.flags |= Flags.low_delay
    context.options = {"max_pixels": str(MAX_PIXELS)}
    if name == "libdav1d":
        # By default dav1d delays output by a frame to decode frames in parallel.
        context.options = {"max_pixels": str(MAX_PIXELS), "max_frame_delay": "1"}
    return context
