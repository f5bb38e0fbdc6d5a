"""FFmpeg's WHIP muxer, as PyAV carries it: publishes a test picture in H.264 and a tone until it is terminated.

Arguments: the endpoint, the token, and files with a certificate and its key.
"""

import signal
import sys
import time
from fractions import Fraction

import av
import numpy as np

stopped: list[bool] = []
WIDTH, HEIGHT, FPS, RATE = 320, 180, 15, 48_000


def main(url: str, token: str, certificate: str, key: str) -> None:
    options = {"authorization": token, "cert_file": certificate, "key_file": key}
    with av.open(url, "w", format="whip", options=options) as output:
        video = output.add_stream("libx264", rate=FPS)
        video.width, video.height, video.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        video.options = {"preset": "ultrafast", "tune": "zerolatency", "profile": "baseline", "g": str(FPS)}
        video.codec_context.max_b_frames = 0
        audio = output.add_stream("libopus", rate=RATE)
        audio.layout = "stereo"
        samples = RATE // 50
        tone = np.sin(np.arange(samples) * 2 * np.pi * 500 / RATE) * 8_000
        sound = np.repeat(tone.astype(np.int16), 2).reshape(1, -1)
        began = time.monotonic()
        pictures = ticks = 0
        while not stopped:
            elapsed = time.monotonic() - began
            if pictures <= elapsed * FPS:
                picture = np.full((HEIGHT * 3 // 2, WIDTH), 128, np.uint8)
                picture[:HEIGHT] = (np.arange(WIDTH) + 4 * pictures) % 220
                frame = av.VideoFrame.from_ndarray(picture, "yuv420p")
                frame.pts, frame.time_base = pictures, Fraction(1, FPS)
                output.mux(video.encode(frame))
                pictures += 1
            elif ticks <= elapsed * 50:
                chunk = av.AudioFrame.from_ndarray(sound, "s16", "stereo")
                chunk.rate, chunk.pts, chunk.time_base = RATE, ticks * samples, Fraction(1, RATE)
                output.mux(audio.encode(chunk))
                ticks += 1
            else:
                time.sleep(0.002)


if __name__ == "__main__":
    # The end of `main` closes the output, which sends DELETE. An exception in the handler may get lost in callbacks of FFmpeg.
    signal.signal(signal.SIGTERM, lambda *_: stopped.append(True))
    main(*sys.argv[1:])
