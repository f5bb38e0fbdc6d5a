"""Camera and microphone of bots: each encodes a source once and passes the result to every attached bot.

Video is encoded on one thread per camera, and PyAV releases the GIL meanwhile. Everything else runs on the event loop.
Nothing is encoded while no bot is attached.
"""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final, Protocol

import av

from sfu.bots.codecs import SoundEncoder, VideoEncoder
from sfu.bots.outbound import vp8_payloads
from sfu.bots.voice import FRAME, RATE, SILENT

KEYFRAME_SPACING: Final = 0.5
"""Minimum seconds between keyframes, regardless of requests."""
BEHIND: Final = 0.2
"""Seconds that a camera or microphone may be late before it skips frames."""
RIDS: Final = ("q", "h", "f")


@dataclass(frozen=True, slots=True)
class Layer:
    """One simulcast encoding."""

    rid: str
    width: int
    height: int
    bitrate: int


@dataclass(frozen=True, slots=True)
class Picture:
    """One encoded frame of one layer, split into RTP payloads."""

    payloads: tuple[bytes, ...]
    timestamp: int
    "90 kHz, unwrapped, equal for all layers."
    key: bool


@dataclass(frozen=True, slots=True)
class Sound:
    """20 ms of encoded audio."""

    payload: bytes
    timestamp: int
    "48 kHz, unwrapped."
    level: int
    "In −dBov."
    at: float
    "Unix time in seconds."


class PictureSource(Protocol):
    def picture(self, at: float, width: int, height: int) -> av.VideoFrame:
        """Draws the picture for Unix time `at`. Its size may differ from the requested one. Runs on the camera's thread."""


class SoundSource(Protocol):
    def sound(self, number: int) -> tuple[bytes, int]:
        """Returns frame `number`, counted in units of 20 ms since 1970: 960 mono samples of 16 bits and their −dBov level.

        Called on the event loop, so it must be fast.
        """


PictureSink = Callable[[int, Picture], None]
SoundSink = Callable[[Sound], None]


def layers_of(width: int, height: int, fps: float, bitrate: int = 0, count: int = 3) -> tuple[Layer, ...]:
    """Simulcast layers, each half the size of the next, lowest first.

    `bitrate` is that of the highest layer; 0 derives it from the size.
    """
    if not bitrate:
        bitrate = int(1_400_000 * (width * height / (1280 * 720)) ** 0.8 * (fps / 30) ** 0.5)
    if height < 360:
        count = min(count, 2)
    if height < 180:
        count = 1
    found = []
    for index in range(count):
        divisor = 1 << (count - 1 - index)
        rid = RIDS[len(RIDS) - count + index] if count > 1 else ""
        # Sizes are even because chroma has half the resolution.
        found.append(
            Layer(rid, width // divisor // 2 * 2, height // divisor // 2 * 2, max(30_000, int(bitrate / divisor**1.5)))
        )
    return tuple(found)


class Camera:
    """Encodes a source in simulcast layers while bots are attached. Works while `run` runs."""

    def __init__(self, source: PictureSource, layers: tuple[Layer, ...], fps: float) -> None:
        self.layers = layers
        self.fps = fps
        self._source = source
        self._sinks: list[PictureSink] = []
        self._waiting = asyncio.Event()
        self._key_wanted = False
        self._key_at = 0.0
        self._picture_id = 0

    def attach(self, sink: PictureSink) -> None:
        if sink not in self._sinks:
            self._sinks.append(sink)
            self._key_wanted = True
            self._waiting.set()

    def detach(self, sink: PictureSink) -> None:
        if sink in self._sinks:
            self._sinks.remove(sink)

    def request_keyframe(self) -> None:
        """Makes the next frame a keyframe, at most one per `KEYFRAME_SPACING`. Requests are merged."""
        self._key_wanted = True

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        encoders = [VideoEncoder(layer.width, layer.height, layer.bitrate, self.fps) for layer in self.layers]
        with ThreadPoolExecutor(1, "camera") as thread:
            due = time.time()
            while True:
                if not self._sinks:
                    self._waiting.clear()
                    await self._waiting.wait()
                due = max(due + 1 / self.fps, time.time() - BEHIND)
                await asyncio.sleep(due - time.time())
                key = self._key_wanted and due - self._key_at >= KEYFRAME_SPACING
                if key:
                    self._key_wanted, self._key_at = False, due
                frames = await loop.run_in_executor(thread, self._encode, encoders, time.time(), key)
                for index, picture in frames:
                    for sink in list(self._sinks):
                        sink(index, picture)

    def _encode(self, encoders: list[VideoEncoder], at: float, key: bool) -> list[tuple[int, Picture]]:
        timestamp = int(at * 90_000)
        self._picture_id = self._picture_id + 1 & 0x7FFF
        found = []
        for index, (encoder, layer) in enumerate(zip(encoders, self.layers, strict=True)):
            drawn = self._source.picture(at, layer.width, layer.height)
            data, is_key = encoder.encode(drawn, timestamp, key)
            if data:
                found.append((index, Picture(tuple(vp8_payloads(data, self._picture_id)), timestamp, is_key)))
        return found


class Microphone:
    """Encodes a source while at least one attached bot speaks. The other bots send silence."""

    def __init__(self, source: SoundSource) -> None:
        self._source = source
        self._sinks: dict[SoundSink, Callable[[float], bool]] = {}
        self._waiting = asyncio.Event()

    def attach(self, sink: SoundSink, speaks: Callable[[float], bool]) -> None:
        self._sinks[sink] = speaks
        self._waiting.set()

    def detach(self, sink: SoundSink) -> None:
        self._sinks.pop(sink, None)

    async def run(self) -> None:
        encoder = SoundEncoder()
        number = int(time.time() * RATE / FRAME)
        while True:
            if not self._sinks:
                self._waiting.clear()
                await self._waiting.wait()
            number = max(number + 1, int((time.time() - BEHIND) * RATE / FRAME))
            at = number * FRAME / RATE
            await asyncio.sleep(at - time.time())
            payload, level = b"", SILENT
            if any(speaks(at) for speaks in self._sinks.values()):
                samples, level = self._source.sound(number)
                payload = encoder.encode(samples, number * FRAME)
            sound = Sound(payload, number * FRAME, level, at)
            for sink in list(self._sinks):
                sink(sound)
