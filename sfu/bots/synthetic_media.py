"""Media sources: a drawn bot with a voice, a clapper for lip sync tests, and a media file in a loop."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import av
import numpy as np
from numpy.typing import NDArray

from sfu.bots.picture import CELLS, ROWS, WHITE, TestPicture
from sfu.bots.voice import FRAME, RATE, SILENT, Turn, Voice, level
from sfu.errors import ConfigurationError


class DrawnBot:
    """A test picture whose mouth moves with its voice. Each size is drawn separately, which is cheaper than scaling."""

    def __init__(self, name: str, hue: float, voice: Voice, turn: Turn, grain: int = 0) -> None:
        self._name = name
        self._hue = hue
        self._voice = voice
        self._turn = turn
        self._grain = grain
        self._pictures: dict[tuple[int, int], TestPicture] = {}

    def picture(self, at: float, width: int, height: int) -> av.VideoFrame:
        picture = self._pictures.get((width, height))
        if picture is None:
            picture = TestPicture(width, height, self._name, self._hue, self._grain)
            self._pictures[width, height] = picture
        loudness = 0.0
        if self._turn.speaks(at):
            loudness = max(0.0, 1 - self._voice.level(int(at * RATE / FRAME)) / 60)
        return av.VideoFrame.from_numpy_buffer(picture.draw(at, loudness), format="yuv420p")

    def sound(self, number: int) -> tuple[bytes, int]:
        return self._voice.frame(number).tobytes(), self._voice.level(number)


CLAPS: Final = 25
"""Frames of 20 ms from one clap to the next."""
CLAP: Final = 5
"""Duration of a clap in frames of 20 ms."""


class Clapper:
    """For lip sync tests: at each half second of Unix time a tone starts and the picture below the stamp turns white.

    A receiver compares the delays of both: `read_stamp` returns the time at which the picture was drawn, and claps start
    at multiples of half a second.
    """

    def __init__(self, name: str, hue: float = 0.1) -> None:
        self._name = name
        self._hue = hue
        self._pictures: dict[tuple[int, int], TestPicture] = {}
        phase = np.arange(CLAP * FRAME) * (2 * np.pi * 1000 / RATE)
        self._tone = (8000 * np.sin(phase)).astype(np.int16).reshape(CLAP, FRAME)
        self._silence = bytes(2 * FRAME)

    def picture(self, at: float, width: int, height: int) -> av.VideoFrame:
        picture = self._pictures.get((width, height))
        if picture is None:
            picture = self._pictures[width, height] = TestPicture(width, height, self._name, self._hue)
        drawn = picture.draw(at)
        if clapping(at):
            drawn[height * ROWS // CELLS + 2 : height] = WHITE
        return av.VideoFrame.from_numpy_buffer(drawn, format="yuv420p")

    def sound(self, number: int) -> tuple[bytes, int]:
        within = number % CLAPS
        if within >= CLAP:
            return self._silence, SILENT
        return self._tone[within].tobytes(), level(self._tone[within])


def clapping(at: float) -> bool:
    """Whether a `Clapper` claps at Unix time `at`."""
    return at * RATE / FRAME % CLAPS < CLAP


class MediaFile:
    """Plays a file in a loop. `picture` and `sound` open it separately and may run on different threads."""

    def __init__(self, path: Path) -> None:
        """Raises ConfigurationError if the file cannot be read or has neither video nor audio."""
        try:
            with av.open(str(path)) as container:
                self.has_video = bool(container.streams.video)
                self.has_audio = bool(container.streams.audio)
                self._duration = (container.duration or 0) / 1_000_000
        except (av.FFmpegError, OSError) as error:
            raise ConfigurationError(f"{path} cannot be played: {error.strerror or error}.") from error
        if not (self.has_video or self.has_audio):
            raise ConfigurationError(f"{path} has neither video nor audio.")
        self._path = path
        self._begun = time.time()
        self._frames: Iterator[tuple[float, av.VideoFrame]] = iter(())
        self._shown: av.VideoFrame | None = None
        self._next: tuple[float, av.VideoFrame] | None = None
        self._samples: Iterator[NDArray[np.int16]] = iter(())
        self._rest: NDArray[np.int16] = np.zeros(0, np.int16)

    def picture(self, at: float, width: int, height: int) -> av.VideoFrame:
        elapsed = at - self._begun
        while self._next is None or self._next[0] <= elapsed:
            if self._next is not None:
                self._shown = self._next[1]
            self._next = next(self._frames, None)
            if self._next is None:
                self._frames = self._video(elapsed)
                self._next = next(self._frames, None)
                if self._next is None:
                    raise ConfigurationError(f"{self._path} has no video that can be decoded.")
        return self._shown or self._next[1]

    def sound(self, number: int) -> tuple[bytes, int]:
        while len(self._rest) < FRAME:
            chunk = next(self._samples, None)
            if chunk is None:
                self._samples = self._audio()
                chunk = next(self._samples, np.zeros(FRAME, np.int16))
            self._rest = np.concatenate([self._rest, chunk])
        samples, self._rest = self._rest[:FRAME], self._rest[FRAME:]
        return samples.tobytes(), level(samples)

    def _video(self, begin: float) -> Iterator[tuple[float, av.VideoFrame]]:
        """Frames of one pass with their due times, in seconds since the first pass started."""
        with av.open(str(self._path)) as container:
            for frame in container.decode(video=0):
                yield begin + (frame.time or 0.0), frame

    def _audio(self) -> Iterator[NDArray[np.int16]]:
        """Samples of one pass, padded with silence to the duration of the file."""
        resampler = av.AudioResampler(format="s16", layout="mono", rate=RATE)
        count = 0
        with av.open(str(self._path)) as container:
            for frame in container.decode(audio=0):
                for part in resampler.resample(frame):
                    samples = part.to_ndarray().reshape(-1).astype(np.int16)
                    count += len(samples)
                    yield samples
        missing = int(self._duration * RATE) - count
        if missing > 0:
            yield np.zeros(missing, np.int16)
