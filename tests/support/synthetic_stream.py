"""A live stream without a meeting: a test picture that contains the time of its creation, and a beeping tone.

The top left corner holds 24 squares, black or white: the wall clock in milliseconds, modulo 2²⁴, most significant bit
first, then a white and a black one that mark the barcode. The encoders are the simplest ones for
`sfu.outputs.segmenter`, so that HLS is tested without a mixer.
"""

import struct
from collections.abc import Iterator
from fractions import Fraction
from functools import cache

import av
import numpy as np
from av.video.frame import PictureType
from numpy.typing import NDArray

from sfu.outputs.fmp4 import AudioTrack, Sample, VideoTrack, init_segment
from sfu.outputs.segmenter import Part, Segmenter

FPS = 30
TICKS = 90_000 // FPS
BITS = 24
SIZES = {"480p": (848, 480, 700_000), "720p": (1280, 720, 1_500_000), "1080p": (1920, 1080, 4_000_000)}
SMALL = {"180p": (320, 180, 150_000), "360p": (640, 360, 400_000)}
SAMPLES = 1024
"""In a packet of AAC."""


class Painter:
    """I420 pictures, limited range BT.601, shape (height · 3 / 2, width): bars, something that moves, and the barcode."""

    def __init__(self, width: int, height: int) -> None:
        self.width, self.height = width, height
        bars = np.linspace(40, 200, 8).repeat(-(-width // 8))[:width].astype(np.uint8)
        self._still: NDArray[np.uint8] = np.full((height * 3 // 2, width), 128, np.uint8)
        self._still[:height] = bars
        chroma = self._still[height:].reshape(2, height // 2, width // 2)
        chroma[0, :, : width // 4], chroma[1, :, width // 4 :] = 108, 148
        self.square = width // 32

    def paint(self, number: int, milliseconds: int) -> NDArray[np.uint8]:
        picture = self._still.copy()
        size = self.square
        left = (number * max(1, self.width // 160)) % (self.width - 4 * size)
        picture[self.height // 2 : self.height // 2 + 3 * size, left : left + 3 * size] = 225
        word = (milliseconds % (1 << BITS)) << 2 | 0b10
        for place in range(BITS + 2):
            light = 235 if word >> (BITS + 1 - place) & 1 else 16
            picture[:size, place * size : (place + 1) * size] = light
        chroma = picture[self.height :].reshape(2, self.height // 2, self.width // 2)
        chroma[:, : size // 2, : (BITS + 2) * size // 2] = 128
        return picture


class Camera:
    """H.264 in AVCC form: zero latency, a keyframe where it is asked for, tagged BT.601."""

    def __init__(self, width: int, height: int, bit_rate: int) -> None:
        self._codec = av.CodecContext.create("libx264", "w")
        self._codec.width, self._codec.height, self._codec.pix_fmt = width, height, "yuv420p"
        self._codec.time_base, self._codec.framerate = Fraction(1, 90_000), Fraction(FPS)
        self._codec.bit_rate, self._codec.gop_size, self._codec.thread_count = bit_rate, 10_000, 1
        colours = ":".join(("colorprim=smpte170m", "transfer=smpte170m", "colormatrix=smpte170m"))
        rate = f"vbv-maxrate={bit_rate // 1000}:vbv-bufsize={bit_rate // 2000}"
        self._codec.options = {
            "preset": "ultrafast" if width < 800 else "superfast",
            "tune": "zerolatency",
            "forced-idr": "1",
            "x264-params": f"scenecut=0:repeat-headers=0:{colours}:{rate}",
        }
        self._codec.flags |= av.codec.context.Flags.global_header
        self._codec.open()
        self.track = VideoTrack(width, height, avcc(bytes(self._codec.extradata or b"")))

    def encode(self, picture: NDArray[np.uint8], pts: int, keyframe: bool) -> list[Sample]:
        frame = av.VideoFrame.from_ndarray(picture, format="yuv420p")
        frame.pts, frame.time_base = pts, Fraction(1, 90_000)
        frame.pict_type = PictureType.I if keyframe else PictureType.NONE
        return [
            Sample(lengths(bytes(packet)), packet.pts or 0, packet.dts or 0, packet.is_keyframe, TICKS)
            for packet in self._codec.encode(frame)
        ]


class Beeper:
    """AAC: a second of media begins with 100 ms of a tone."""

    def __init__(self) -> None:
        self._codec = av.CodecContext.create("aac", "w")
        self._codec.sample_rate, self._codec.layout, self._codec.format = 48_000, "stereo", "fltp"
        self._codec.bit_rate = 128_000
        self._codec.flags |= av.codec.context.Flags.global_header
        self._codec.open()
        self._position = 0
        self.track = AudioTrack(bytes(self._codec.extradata or b""))

    def until(self, pts: int) -> list[Sample]:
        """Everything up to a time of the picture, 1/90000 s, as far as whole packets go."""
        found = []
        while (self._position + SAMPLES) * 90_000 <= pts * 48_000:
            at = np.arange(self._position, self._position + SAMPLES)
            tone = np.where(at % 48_000 < 4_800, 0.2 * np.sin(at * (2 * np.pi * 880 / 48_000)), 0).astype(np.float32)
            frame = av.AudioFrame.from_ndarray(np.stack([tone, tone]), format="fltp", layout="stereo")
            frame.sample_rate, frame.pts, frame.time_base = 48_000, self._position, Fraction(1, 48_000)
            self._position += SAMPLES
            found += [
                Sample(bytes(packet), packet.pts or 0, packet.dts or 0, True, SAMPLES)
                for packet in self._codec.encode(frame)
            ]
        return found


class SyntheticStream:
    """Renditions of one picture, cut into parts: `tick` once for every picture, with the time to be drawn into it."""

    def __init__(self, sizes: dict[str, tuple[int, int, int]]) -> None:
        self.sizes = sizes
        self._painters = {name: Painter(width, height) for name, (width, height, _) in sizes.items()}
        self._cameras = {name: Camera(*size) for name, size in sizes.items()}
        self._beeper = Beeper()
        self._segmenters = {name: Segmenter(name) for name in sizes}
        self._number = 0

    def inits(self) -> dict[str, bytes]:
        return {name: init_segment(camera.track, self._beeper.track) for name, camera in self._cameras.items()}

    def tick(self, milliseconds: int) -> list[Part]:
        pts = self._number * TICKS
        sound = self._beeper.until(pts + TICKS)
        parts = []
        for name, camera in self._cameras.items():
            segmenter = self._segmenters[name]
            picture = self._painters[name].paint(self._number, milliseconds)
            segmenter.receive_audio(sound)
            parts += segmenter.receive_video(camera.encode(picture, pts, segmenter.wants_keyframe(pts)))
        self._number += 1
        return parts

    def flush(self) -> list[Part]:
        return [part for segmenter in self._segmenters.values() for part in segmenter.flush()]


@cache
def recorded(seconds: int = 4, names: tuple[str, ...] = ("180p",)) -> tuple[dict[str, bytes], tuple[Part, ...]]:
    """A live stream as fast as it can be made: initialization segments, and parts whose barcode is media time."""
    stream = SyntheticStream({name: {**SIZES, **SMALL}[name] for name in names})
    parts = [part for number in range(seconds * FPS) for part in stream.tick(number * 1000 // FPS)]
    return stream.inits(), (*parts, *stream.flush())


def units(annex_b: bytes) -> Iterator[bytes]:
    """NAL units between start codes (H.264 annex B)."""
    begin = annex_b.find(b"\0\0\1")
    while begin >= 0:
        end = annex_b.find(b"\0\0\1", begin + 3)
        unit = annex_b[begin + 3 : end if end >= 0 else None]
        yield unit.rstrip(b"\0") if end >= 0 else unit
        begin = end


def lengths(annex_b: bytes) -> bytes:
    """NAL units after their lengths, without parameter sets."""
    return b"".join(struct.pack(">I", len(unit)) + unit for unit in units(annex_b) if unit[0] & 31 not in (7, 8, 9))


def avcc(extradata: bytes) -> bytes:
    """AVCDecoderConfigurationRecord (14496-15 5.3.3) of parameter sets in whichever form."""
    if extradata[0] == 1:
        return extradata
    found = list(units(extradata))
    sps = next(unit for unit in found if unit[0] & 31 == 7)
    pps = next(unit for unit in found if unit[0] & 31 == 8)
    record = (
        bytes((1, *sps[1:4], 0xFF, 0xE1))
        + struct.pack(">H", len(sps))
        + sps
        + b"\1"
        + struct.pack(">H", len(pps))
        + pps
    )
    return record + (b"\xfd\xf8\xf8\0" if sps[1] in (100, 110, 122, 144) else b"")
