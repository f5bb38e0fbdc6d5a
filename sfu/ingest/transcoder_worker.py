"""Transcoder process of one stream: `python -m sfu.ingest.transcoder_worker CONTROL_FD MEMORY_BYTES NICE`.

Decodes what browsers cannot receive (AAC, MP3, H.264 with B-frames or in other profiles) and encodes Opus and H.264. It
decodes untrusted media, so it is isolated: no secrets in its environment, limited address space, no core dumps. Any failure
ends the process, and the server starts another one. Threads: the main thread reads messages and transcodes sound; another
one transcodes pictures, which take longer.
"""

import logging
import math
import os
import queue
import resource
import signal
import socket
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from fractions import Fraction
from typing import Final

import av
import numpy as np
from av.audio.codeccontext import AudioCodecContext
from av.audio.resampler import AudioResampler
from av.video.codeccontext import VideoCodecContext
from av.video.reformatter import Colorspace, VideoReformatter

from sfu.ingest.sample_clock import RATE, SampleClock
from sfu.ingest.transcoding import (
    LENGTH,
    LIMIT,
    Audio,
    ConfigureAudio,
    ConfigureVideo,
    Failed,
    FromTranscoder,
    Picture,
    Ready,
    RequestKeyframe,
    Sound,
    Video,
    decode_to_transcoder,
    encode,
)
from sfu.outputs.encoder import OPUS_FRAME, OpusEncoder, VideoEncoder
from sfu.outputs.encoder import Sound as Samples

log = logging.getLogger(__name__)

AUDIO_DECODERS: Final = {"AAC": "aac", "MP3": "mp3float", "PCMA": "pcm_alaw", "PCMU": "pcm_mulaw"}
G711: Final = ("PCMA", "PCMU")
VIDEO_DECODERS: Final = {"H264": "h264", "HEVC": "hevc", "MPEG4": "mpeg4", "MJPEG": "mjpeg", "VP8": "vp8"}
OPUS_BIT_RATE: Final = 96_000
FPS: Final = 30
KEYFRAME_INTERVAL: Final = 60
"""In frames of 1/30 s. Keyframe requests of viewers are answered at once."""
VIDEO_QUEUE: Final = 60
"""Pictures that may wait for the encoder; more are dropped up to the next keyframe."""
MAX_PIXELS: Final = 4096 * 2304
_BT709: Final = 1

Send = Callable[[FromTranscoder], None]


class SoundTranscoder:
    """AAC, MP3 or G.711 in, Opus out."""

    def __init__(self, codec: str, config: bytes, send: Send) -> None:
        self._send = send
        decoder = av.CodecContext.create(AUDIO_DECODERS[codec], "r")
        assert isinstance(decoder, AudioCodecContext)
        if codec in G711:
            decoder.sample_rate, decoder.layout = 8000, "mono"
        elif config:
            decoder.extradata = config
        self._decoder = decoder
        self._resampler = AudioResampler(format="flt", layout="stereo", rate=RATE)
        self._clock = SampleClock()
        self._encoder = OpusEncoder(OPUS_BIT_RATE)
        self._block: list[Samples] = []
        self._count = self._position = 0

    def receive(self, frame: Audio) -> None:
        packet = av.Packet(frame.data)
        time = frame.time
        for decoded in self._decoder.decode(packet):
            for resampled in self._resampler.resample(decoded):
                samples = np.asarray(resampled.to_ndarray(), np.float32).reshape(-1, 2)
                self._push(samples, time)
                time += len(samples) / RATE

    def _push(self, samples: Samples, time: float) -> None:
        position, length, gap = self._clock.place(time, len(samples))
        if gap:
            self._block.clear()
            self._count = 0
            self._encoder = OpusEncoder(OPUS_BIT_RATE)
        if not self._count:
            self._position = position
        if length == 0:
            return
        self._block.append(_stretched(samples, length))
        self._count += length
        if self._count < OPUS_FRAME:
            return
        joined = np.concatenate(self._block)
        whole = len(joined) // OPUS_FRAME * OPUS_FRAME
        for at in range(0, whole, OPUS_FRAME):
            block = joined[at : at + OPUS_FRAME]
            for packet in self._encoder.encode(block, self._position + at):
                self._send(Sound(pts=packet.pts, level=_level(block), data=packet.data))
        self._block = [joined[whole:]]
        self._count -= whole
        self._position += whole


class VideoTranscoder:
    """H.264 or another codec in, one or more H.264 layers without B-frames out. Runs on a thread of its own."""

    def __init__(self, config: ConfigureVideo, send: Send, failed: Callable[[str], None]) -> None:
        self._send, self._failed = send, failed
        decoder = av.CodecContext.create(VIDEO_DECODERS[config.codec], "r")
        assert isinstance(decoder, VideoCodecContext)
        if config.config:
            decoder.extradata = config.config
        decoder.thread_count = 1
        self._decoder = decoder
        self._specs = config.layers
        self._encoders: dict[str, VideoEncoder] = {}
        self._size = (0, 0)
        self._convert = VideoReformatter()
        self._queue: queue.Queue[Video | None] = queue.Queue(VIDEO_QUEUE)
        self._skipping = True
        self._wanted: set[str] = set()
        self._last = -1
        threading.Thread(target=self._run, name="video", daemon=True).start()

    def receive(self, frame: Video) -> None:
        if self._skipping and not frame.keyframe:
            return
        try:
            self._queue.put_nowait(frame)
            self._skipping = False
        except queue.Full:
            self._skipping = True

    def request_keyframe(self, rid: str) -> None:
        self._wanted.add(rid)

    def close(self) -> None:
        self._skipping = True
        with suppress(queue.Full):
            self._queue.put_nowait(None)

    def _run(self) -> None:
        try:
            while (frame := self._queue.get()) is not None:
                self._transcode(frame)
        except Exception as error:
            log.exception("video transcoding failed")
            self._failed(f"{type(error).__name__} in the video transcoder.")

    def _transcode(self, frame: Video) -> None:
        packet = av.Packet(frame.data)
        packet.pts, packet.time_base = frame.pts, Fraction(1, 90_000)
        try:
            pictures = self._decoder.decode(packet)
        except av.error.InvalidDataError:
            return
        for picture in pictures:
            if picture.pts is not None and picture.pts > self._last:
                self._last = picture.pts
                self._encode(picture, picture.pts)

    def _encode(self, picture: av.VideoFrame, pts: int) -> None:
        size = picture.width, picture.height
        if picture.width * picture.height > MAX_PIXELS:
            raise ValueError("the picture is too large")
        if size != self._size:
            self._size = size
            self._encoders = {spec.rid: _encoder(spec.width, spec.height, spec.bit_rate, size) for spec in self._specs}
        if picture.format.name != "yuv420p" or picture.colorspace == _BT709:
            source = Colorspace.ITU709 if picture.colorspace == _BT709 else Colorspace.ITU601
            picture = self._convert.reformat(
                picture, format="yuv420p", src_colorspace=source, dst_colorspace=Colorspace.ITU601, threads=1
            )
        for rid, encoder in self._encoders.items():
            if rid in self._wanted:
                self._wanted.discard(rid)
                encoder.force_keyframe()
            for coded in encoder.encode(picture, pts):
                config = encoder.extradata if coded.keyframe else b""
                self._send(Picture(rid=rid, pts=coded.pts, keyframe=coded.keyframe, data=coded.data, config=config))


def _encoder(width: int, height: int, bit_rate: int, size: tuple[int, int]) -> VideoEncoder:
    width, height = width or size[0] & ~1, height or size[1] & ~1
    return VideoEncoder(width, height, bit_rate, FPS, KEYFRAME_INTERVAL, profile="main")


def _stretched(samples: Samples, length: int) -> Samples:
    """Samples stretched to `length` by linear interpolation."""
    if len(samples) == length:
        return samples
    at = np.linspace(0, len(samples) - 1, length)
    index = np.arange(len(samples))
    return np.stack([np.interp(at, index, samples[:, channel]) for channel in (0, 1)], axis=1).astype(np.float32)


def _level(block: Samples) -> int:
    power = float(np.mean(block * block))
    return min(127, max(0, round(-10 * math.log10(power)))) if power > 1e-13 else 127


class Worker:
    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._writing = threading.Lock()
        self._sound: SoundTranscoder | None = None
        self._video: VideoTranscoder | None = None

    def send(self, message: FromTranscoder) -> None:
        """May be called from both threads."""
        data = encode(message)
        with self._writing:
            self._sock.sendall(data)

    def run(self) -> None:
        """Returns when the server closes the socket."""
        self.send(Ready())
        with self._sock.makefile("rb") as stream:
            while head := stream.read(LENGTH.size):
                (size,) = LENGTH.unpack(head)
                if size > LIMIT:
                    raise ValueError("message is too long")
                self._handle(stream.read(size))

    def _handle(self, body: bytes) -> None:
        message = decode_to_transcoder(body)
        if isinstance(message, Audio):
            if self._sound is not None:
                with suppress(av.error.InvalidDataError):
                    self._sound.receive(message)
        elif isinstance(message, Video):
            if self._video is not None:
                self._video.receive(message)
        elif isinstance(message, ConfigureAudio):
            self._sound = SoundTranscoder(message.codec, message.config, self.send)
        elif isinstance(message, ConfigureVideo):
            if self._video is not None:
                self._video.close()
            self._video = VideoTranscoder(message, self.send, self.fail)
        elif isinstance(message, RequestKeyframe) and self._video is not None:
            self._video.request_keyframe(message.rid)

    def fail(self, reason: str) -> None:
        """Reports a failure and ends the process without waiting for threads of libraries."""
        with suppress(OSError):
            self.send(Failed(message=reason))
        os._exit(1)


def main(arguments: list[str]) -> None:
    descriptor, memory, nice = (int(word) for word in arguments)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in the terminal is for the server
    logging.basicConfig(level=logging.WARNING, format="sfu transcoder: %(message)s")
    logging.getLogger("libav").setLevel(logging.CRITICAL)
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with suppress(OSError):
        os.nice(nice)
    worker = Worker(socket.socket(fileno=descriptor))
    try:
        worker.run()
    except OSError:
        pass  # the server is gone
    except Exception as error:
        log.exception("transcoder failed")
        worker.fail(f"{type(error).__name__} in the transcoder.")
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1:])
