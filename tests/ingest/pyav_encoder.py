"""An RTMP encoder on PyAV: python -m tests.ingest.pyav_encoder URL CODEC. Ends with status 1 when the server refuses."""

import sys
import time
from fractions import Fraction

import av
import numpy as np

OPTIONS: dict[str, dict[str, object]] = {
    "libx265": {"preset": "ultrafast", "x265-params": "log-level=none:bframes=0"},
    "flv1": {},
    "libvpx-vp9": {"deadline": "realtime", "cpu-used": "8", "lag-in-frames": "0"},
    "libsvtav1": {"preset": "11", "svtav1-params": "pred-struct=1:lookahead=0:lp=1:rc=2"},
}
RATE = 15


def main(url: str, codec: str) -> int:
    pictures = np.random.default_rng(1).integers(16, 235, (8, 270, 320), np.uint8)
    try:
        with av.open(url, "w", format="flv") as output:
            stream = output.add_stream(codec, RATE)
            assert isinstance(stream, av.VideoStream)
            stream.width, stream.height, stream.pix_fmt = 320, 180, "yuv420p"
            stream.bit_rate = 500_000
            stream.codec_context.gop_size = RATE
            stream.codec_context.time_base = Fraction(1, RATE)
            stream.options = OPTIONS[codec]
            for number in range(60 * RATE):
                frame = av.VideoFrame.from_ndarray(pictures[number // 4 % 8], format="yuv420p")
                frame.pts = number
                output.mux(stream.encode(frame))
                time.sleep(1 / RATE)
    except (OSError, av.error.FFmpegError):
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2]))
