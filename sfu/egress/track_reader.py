"""Recorded tracks read back in step with a clock: the pictures and the sound of one file each, by the wall's time.

Their files are `sfu.outputs.track_writer`'; the side file says when each began.
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

COHERENT: Final = 2.0
"""Seconds by which capture and arrival may differ before the reports are not believed."""
STALE: Final = 8.0
"""Seconds without a picture after which a camera counts as off; as when it is live."""
HOLE: Final = RATE // 66
"""Samples (15 ms) by which sound must miss its place to be moved: less is the file's rounding."""


@dataclass(frozen=True, slots=True)
class RecordedTrackFile:
    """One file, as its side file tells of it."""

    path: Path
    track: str
    started_at: float
    "Seconds since 1970 of the file's beginning."
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
                    begun = _captured(lines, begun)
                found.append(RecordedTrackFile(path, begin["track"], begun, video, screen, rotation))
        except (ValueError, KeyError, TypeError):
            continue  # `room.jsonl`, or one of somebody else's
    return found


def _captured(lines: list[str], arrived: float) -> float:
    """When the file's first moment was captured: by the sender's reports, on the server's clock; else when it arrived."""
    found = []
    for line in lines[1:]:
        try:
            report = json.loads(line)
            if report["event"] == "report":
                found.append(report["ntp"] / (1 << 32) - NTP_EPOCH - report["media"])
        except (ValueError, KeyError, TypeError):
            continue
    captured = median(found) if found else arrived
    return captured if abs(captured - arrived) < COHERENT else arrived


class VideoTrackReader:
    """`picture_at` with times that grow; pictures that nobody looks at are decoded and not scaled."""

    def __init__(self, track_file: RecordedTrackFile) -> None:
        self._track_file = track_file
        self._frames = _frames(track_file)
        self._next: tuple[float, VideoFrame] | None = next(self._frames, None)
        self._now: tuple[float, VideoFrame] | None = None
        self._fitter = Fitter()
        self._made: tuple[VideoFrame, int, int, Fit, Picture] | None = None

    def picture_at(self, wall: float, width: int, height: int, fit: Fit) -> Picture | None:
        """What was to be seen at that moment, made for a tile of this size."""
        while self._next is not None and self._next[0] <= wall:
            self._now, self._next = self._next, next(self._frames, None)
        if self._now is None or (self._next is None and wall - self._now[0] > 1.0):
            return None
        at, frame = self._now
        if not self._track_file.screen and wall - at > STALE:
            return None
        if self._made is None or self._made[:4] != (frame, width, height, fit):
            picture = self._fitter.fit(frame, width, height, fit, self._track_file.rotation)
            self._made = (frame, width, height, fit, picture)
        return self._made[4]


class AudioTrackReader:
    """`take` gives 20 ms after 20 ms."""

    def __init__(self, track_file: RecordedTrackFile, begin: float) -> None:
        """`begin`: wall time of the first sample that is taken."""
        self._blocks = _blocks(track_file, begin)
        self._held = np.zeros((0, 2), np.float32)
        self._at = 0
        self._position = 0
        """Of the first sample held, and of the next one taken, in samples since `begin`."""

    def take(self) -> Sound | None:
        """None: there is nothing, or no more."""
        start, end = self._position, self._position + TICK
        self._position = end
        while self._at + len(self._held) < end:
            block = next(self._blocks, None)
            if block is None:
                break
            place, samples = block
            expected = self._at + len(self._held)
            if not len(self._held):
                self._at = place
                self._held = samples
            elif place - expected > HOLE:
                silence = np.zeros((place - expected, 2), np.float32)
                self._held = np.concatenate((self._held, silence, samples))
            elif expected - place > HOLE:
                self._held = np.concatenate((self._held, samples[expected - place :]))
            else:
                self._held = np.concatenate((self._held, samples))
        skipped = start - self._at
        if skipped > 0:
            self._held, self._at = self._held[skipped:], start
        if not len(self._held) or self._at >= end:
            return None
        out = np.zeros((TICK, 2), np.float32)
        offset = self._at - start
        given = min(TICK - offset, len(self._held))
        out[offset : offset + given] = self._held[:given]
        self._held, self._at = self._held[given:], self._at + given
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
