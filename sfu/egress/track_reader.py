"""Reads recorded tracks for offline mixing: the picture and the sound of one file at a given wall-clock time.

`sfu.outputs.track_writer` writes the files; their side files hold the start times.
"""

import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Final

import av
import numpy as np
from av.audio.resampler import AudioResampler
from av.error import FFmpegError
from av.video.frame import VideoFrame

from sfu.mixer.audio_source import RATE, TICK, Sound
from sfu.mixer.picture import Fitter, Picture
from sfu.mixer.scene import Fit
from sfu.resources.media_clock import NTP_EPOCH

log = logging.getLogger(__name__)

MAX_CAPTURE_OFFSET: Final = 2.0
"""Maximum seconds between capture and arrival time. Beyond this, sender reports are ignored."""
PICTURE_TIMEOUT: Final = 8.0
"""Seconds without a picture after which a camera counts as off, as in the live mix."""
MAX_ROUNDING: Final = RATE // 66
"""Minimum gap, in samples (15 ms), that moves sound. Smaller gaps are rounding of the container."""


@dataclass(frozen=True, slots=True)
class RecordedTrackFile:
    """A recorded track as described by its side file."""

    path: Path
    track: str
    started_at: float
    "Unix time, in seconds, of the file's first media."
    video: bool
    screen: bool
    rotation: int


def recorded_tracks(directory: Path) -> list[RecordedTrackFile]:
    """All finished tracks of a recording."""
    found = []
    for side in sorted(directory.glob("*.jsonl")):
        path = next((side.with_suffix(kind) for kind in (".webm", ".mp4") if side.with_suffix(kind).is_file()), None)
        lines = side.read_text(encoding="utf-8", errors="replace").splitlines()
        try:
            begin = json.loads(lines[0]) if lines else {}
            if path is not None and begin["event"] == "begin":
                video = begin["codec"] != "OPUS"
                screen = begin["source"] == "screen_share"
                rotation = int(begin.get("rotation", 0))
                begun = float(begin["started_at"])
                if begin.get("clock") != "reports":
                    begun = _capture_time(lines, begun)
                found.append(RecordedTrackFile(path, begin["track"], begun, video, screen, rotation))
        except (ValueError, KeyError, TypeError):
            continue  # `room.jsonl` or a foreign file
    return found


def _capture_time(lines: list[str], arrived: float) -> float:
    """Capture time of the file's first media on the server's clock, from sender reports; without plausible ones, its
    arrival time.
    """
    found = []
    for line in lines[1:]:
        try:
            report = json.loads(line)
            if report["event"] == "report":
                found.append(report["ntp"] / (1 << 32) - NTP_EPOCH - report["media"])
        except (ValueError, KeyError, TypeError):
            continue
    captured = median(found) if found else arrived
    return captured if abs(captured - arrived) < MAX_CAPTURE_OFFSET else arrived


class VideoTrackReader:
    """Pictures of one file. Call `picture_at` with increasing times; pictures that are skipped are decoded but not scaled."""

    def __init__(self, track_file: RecordedTrackFile) -> None:
        self._track_file = track_file
        self._frames = _frames(track_file)
        self._next: tuple[float, VideoFrame] | None = next(self._frames, None)
        self._now: tuple[float, VideoFrame] | None = None
        self._fitter = Fitter()
        self._made: tuple[VideoFrame, int, int, Fit, Picture] | None = None

    def picture_at(self, wall: float, width: int, height: int, fit: Fit) -> Picture | None:
        """The picture that was visible at `wall`, scaled for a tile of this size."""
        while self._next is not None and self._next[0] <= wall:
            self._now, self._next = self._next, next(self._frames, None)
        if self._now is None or (self._next is None and wall - self._now[0] > 1.0):
            return None
        at, frame = self._now
        if not self._track_file.screen and wall - at > PICTURE_TIMEOUT:
            return None
        if self._made is None or self._made[:4] != (frame, width, height, fit):
            picture = self._fitter.fit(frame, width, height, fit, self._track_file.rotation)
            self._made = (frame, width, height, fit, picture)
        return self._made[4]


class AudioTrackReader:
    """Sound of one file; each `take` returns the next 20 ms."""

    def __init__(self, track_file: RecordedTrackFile, begin: float) -> None:
        """`begin`: Unix time of the first sample to return."""
        self._blocks = _blocks(track_file, begin)
        self._buffer = np.zeros((0, 2), np.float32)
        self._at = 0
        self._position = 0
        """Positions of the first buffered sample and of the next sample to return, in samples since `begin`."""

    def take(self) -> Sound | None:
        """None: no sound in this block, or end of file."""
        start, end = self._position, self._position + TICK
        self._position = end
        while self._at + len(self._buffer) < end:
            block = next(self._blocks, None)
            if block is None:
                break
            place, samples = block
            expected = self._at + len(self._buffer)
            if not len(self._buffer):
                self._at = place
                self._buffer = samples
            elif place - expected > MAX_ROUNDING:
                silence = np.zeros((place - expected, 2), np.float32)
                self._buffer = np.concatenate((self._buffer, silence, samples))
            elif expected - place > MAX_ROUNDING:
                self._buffer = np.concatenate((self._buffer, samples[expected - place :]))
            else:
                self._buffer = np.concatenate((self._buffer, samples))
        skipped = start - self._at
        if skipped > 0:
            self._buffer, self._at = self._buffer[skipped:], start
        if not len(self._buffer) or self._at >= end:
            return None
        out = np.zeros((TICK, 2), np.float32)
        offset = self._at - start
        given = min(TICK - offset, len(self._buffer))
        out[offset : offset + given] = self._buffer[:given]
        self._buffer, self._at = self._buffer[given:], self._at + given
        return out


def _frames(track_file: RecordedTrackFile) -> Iterator[tuple[float, VideoFrame]]:
    try:
        with av.open(str(track_file.path)) as source:
            stream = source.streams.video[0]
            stream.codec_context.thread_count = 1
            for frame in source.decode(stream):
                if frame.pts is not None and frame.time_base is not None:
                    yield track_file.started_at + float(frame.pts * frame.time_base), frame
    except (FFmpegError, IndexError) as error:
        log.warning("track ends early: %s", type(error).__name__)


def _blocks(track_file: RecordedTrackFile, begin: float) -> Iterator[tuple[int, Sound]]:
    resampler = AudioResampler(format="flt", layout="stereo", rate=RATE)
    offset = round((track_file.started_at - begin) * RATE)
    try:
        with av.open(str(track_file.path)) as source:
            for frame in source.decode(source.streams.audio[0]):
                if frame.pts is None or frame.time_base is None:
                    continue
                place = offset + round(float(frame.pts * frame.time_base) * RATE)
                for made in resampler.resample(frame):
                    samples = made.to_ndarray().reshape(-1, 2).astype(np.float32, copy=False)
                    yield place, samples
                    place += len(samples)
    except (FFmpegError, IndexError) as error:
        log.warning("track ends early: %s", type(error).__name__)
