"""H.264 of x264 with B-frames, and in profiles that browsers cannot receive."""

from collections.abc import Sequence
from fractions import Fraction

import av
import numpy as np
from av.codec.context import Flags
from av.video.codeccontext import VideoCodecContext


def encode_h264(
    pictures: Sequence[np.ndarray], *, b_frames: int = 0, profile: str = "main", pixels: str = "yuv420p"
) -> tuple[bytes, list[bytes]]:
    """The avcC record, and access units with length-prefixed NAL units in decoding order.

    `pictures`: I420, shape (height * 3 // 2, width). The first access unit is the only keyframe.
    """
    encoder = VideoCodecContext.create("libx264", "w")
    assert isinstance(encoder, VideoCodecContext)
    encoder.height, encoder.width = pictures[0].shape[0] * 2 // 3, pictures[0].shape[1]
    encoder.pix_fmt, encoder.time_base, encoder.thread_count = pixels, Fraction(1, 30), 1
    encoder.max_b_frames = b_frames
    encoder.flags |= Flags.global_header
    encoder.options = {
        "preset": "veryfast",
        "profile": profile,
        "x264-params": f"annexb=0:b-adapt=0:scenecut=0:bframes={b_frames}",
    }
    found: list[bytes] = []
    for number, picture in enumerate(pictures):
        frame = av.VideoFrame.from_ndarray(picture, format="yuv420p").reformat(format=pixels)
        frame.pts = number
        found += map(bytes, encoder.encode(frame))
    found += map(bytes, encoder.encode(None))
    return bytes(encoder.extradata or b""), found
