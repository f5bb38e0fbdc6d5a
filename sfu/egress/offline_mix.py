"""`sfu mix`: mixes recorded tracks after the meeting.

The director, compositor and encoders are those of the live mix; they get the members and speakers at the recorded
times, but run as fast as they can. The result is an ordinary recording with chapters.
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, get_args

import av
import msgspec
import numpy as np

from sfu.egress import protocol
from sfu.egress.inputs import layout_members
from sfu.egress.track_reader import AudioTrackReader, RecordedTrackFile, VideoTrackReader, recorded_tracks
from sfu.egress.track_recorder import ROOM
from sfu.errors import ConfigurationError, SfuError
from sfu.mixer.audio_source import RATE, TICK
from sfu.mixer.compositor import Compositor
from sfu.mixer.director import Director
from sfu.mixer.layout import Layout
from sfu.mixer.limiter import BLOCK, Limiter
from sfu.mixer.picture import Picture
from sfu.mixer.scene import Scene, parse_template
from sfu.outputs.encoder import VIDEO_RATE, AudioEncoder, VideoEncoder
from sfu.outputs.finalize import finalize
from sfu.outputs.fmp4 import AudioTrack, VideoTrack, init_segment
from sfu.outputs.recorder import Recorder
from sfu.outputs.segmenter import Part, Segmenter
from sfu.outputs.settings import Rendition
from sfu.rooms.egress_status import LayoutName

FPS: Final = 30
RoomMessage = protocol.Members | protocol.Speakers | protocol.Layout


class Line(msgspec.Struct, frozen=True):
    """One line of `room.jsonl`."""

    time: float
    message: protocol.ToWorker


@dataclass(frozen=True, slots=True)
class Progress:
    done: float
    "Seconds of mixed media."
    duration: float
    speed: float
    "Multiple of real time."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("recording", metavar="DIRECTORY", help="recorded tracks from `sfu egress start --tracks`")
    parser.add_argument("--output", metavar="DIRECTORY", default="", help="default: `mix` in the recording")
    parser.add_argument("--picture", default="1280x720@1500", metavar="WxH@KBPS", help="default: %(default)s")
    parser.add_argument("--layout", choices=get_args(LayoutName), default="auto")
    parser.add_argument("--scene", metavar="FILE", help="JSON scene with rectangles, labels and images")
    parser.add_argument("--quiet", action="store_true", help="do not print progress")


def run(parsed: argparse.Namespace) -> int:
    """Mixes one recording. Raises SfuError."""
    directory = Path(parsed.recording)
    layout = protocol.Layout(layout=parsed.layout)
    if parsed.scene:
        try:
            layout = protocol.Layout(scene=Path(parsed.scene).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            raise ConfigurationError(f"--scene {parsed.scene} cannot be read.") from None
        parse_template(layout.scene)
    output = Path(parsed.output or directory / "mix")
    mix = OfflineMix(directory, output, Rendition.parse(parsed.picture), layout)
    for progress in mix.run():
        if not parsed.quiet and sys.stderr.isatty():
            share = progress.done / progress.duration if progress.duration else 1.0
            print(f"\r{share:6.1%}  {progress.done:8.1f} s  {progress.speed:4.1f}×", end="", file=sys.stderr)
    if not parsed.quiet and sys.stderr.isatty():
        print(file=sys.stderr)
    print(mix.finish())
    return 0


class OfflineMix:
    """Mixes one recording: call `run` to its end, then `finish`."""

    def __init__(self, directory: Path, output: Path, rendition: Rendition, layout: protocol.Layout) -> None:
        """Raises SfuError if the directory holds no finished tracks, or if the output cannot be written."""
        self._lines = _lines(directory)
        files = recorded_tracks(directory)
        if not self._lines or not files:
            raise SfuError(f"{directory} holds no finished tracks with a {ROOM}.")
        self._begin = max(self._lines[0].time, min(track_file.started_at for track_file in files))
        self._end = max(self._lines[-1].time, max(_end(track_file) for track_file in files))
        self._pictures: dict[str, list[VideoTrackReader]] = {}
        self._sounds: dict[str, list[AudioTrackReader]] = {}
        for track_file in files:
            if track_file.video:
                self._pictures.setdefault(track_file.track, []).append(VideoTrackReader(track_file))
            else:
                self._sounds.setdefault(track_file.track, []).append(AudioTrackReader(track_file, self._begin))
        self._rendition = rendition
        self._director = Director()
        if layout.scene:
            self._director.use_template(parse_template(layout.scene))
        elif layout.layout != "auto":
            self._director.choose(Layout(layout.layout))
        self._compositor = Compositor(rendition.width, rendition.height)
        self._scene = Scene(rendition.width, rendition.height)
        self._members: list[protocol.Member] = []
        self._speakers = protocol.Speakers()
        self._scene_key: object = None
        self._last_decision: object = None
        self._limiter = Limiter()
        self._video = VideoEncoder(rendition.width, rendition.height, rendition.bit_rate, FPS)
        self._audio = AudioEncoder()
        self._segmenter = Segmenter("recording")
        self._output = output
        try:
            self._recorder = Recorder(output)
        except OSError as error:
            raise SfuError(f"{output} cannot be written: {error.strerror}.") from None
        video = VideoTrack(rendition.width, rendition.height, self._video.extradata)
        self._recorder.begin(init_segment(video, AudioTrack(self._audio.extradata)), self._begin)

    def run(self) -> Iterator[Progress]:
        """Mixes the recording and yields the progress once per second of media."""
        duration, began, blocks, line = self._end - self._begin, time.monotonic(), 0, 0
        for number in range(int(duration * FPS)):
            at = number / FPS
            while line < len(self._lines) and self._lines[line].time <= self._begin + at:
                self._take(self._lines[line].message, at)
                line += 1
            while blocks * TICK < (at + 0.2) * RATE:
                self._mix(blocks)
                blocks += 1
            self._tick(at, number * VIDEO_RATE // FPS)
            if number % FPS == 0:
                yield Progress(at, duration, at / max(time.monotonic() - began, 0.001))
        yield Progress(duration, duration, duration / max(time.monotonic() - began, 0.001))

    def finish(self) -> Path:
        """Flushes the encoders and returns the path of the finished file. Raises SfuError."""
        self._segmenter.receive_audio(self._audio.close())
        self._put(self._segmenter.receive_video(self._video.close()))
        self._put(self._segmenter.flush())
        self._recorder.close(timeout=60.0)
        try:
            done = finalize(self._output, self._output.absolute().parent.name)
        except OSError as error:
            raise SfuError(f"The mix could not be finished: {error}.") from None
        if done is None:
            raise SfuError("The mix is empty.")
        return Path(done.path)

    def _take(self, message: protocol.ToWorker, at: float) -> None:
        if isinstance(message, protocol.Members):
            before = {member.id for member in self._members}
            for member in message.members if self._members else ():
                if member.id not in before:
                    self._recorder.note("join", at, member.name, chapter=True)
            self._members = message.members
        elif isinstance(message, protocol.Speakers):
            self._speakers = message

    def _tick(self, at: float, pts: int) -> None:
        wall = self._begin + at + 0.5 / FPS  # take the nearest picture; only older ones would be late
        members = layout_members(self._members, self._speakers.levels, set(self._pictures))
        names = {member.id: member.identity for member in self._members}
        decision = self._director.direct(members, names.get(self._speakers.dominant, ""), at)
        if (members, decision) != self._scene_key:
            self._scene_key = (members, decision)
            scene = self._director.scene(members, self._rendition.width, self._rendition.height)
            self._scene = scene if scene != self._scene else self._scene
        if decision != self._last_decision:
            self._last_decision = decision
            self._recorder.note("layout", at, str(decision.layout), chapter=True, stage=decision.stage)
        pictures: dict[str, Picture | None] = {}
        for tile in self._scene.tiles:
            for track_file in self._pictures.get(tile.source, ()):
                picture = track_file.picture_at(wall, tile.area.width, tile.area.height, tile.fit)
                pictures[tile.source] = picture or pictures.get(tile.source)
        canvas = self._compositor.composite(self._scene, pictures)
        self._put(self._segmenter.receive_video(self._video.encode(canvas, pts)))

    def _mix(self, number: int) -> None:
        """Mixes 20 ms of sound. The timestamp compensates the delay of the limiter."""
        muted = {track.id for member in self._members for track in member.tracks if track.muted}
        mix = np.zeros((TICK, 2), np.float32)
        for track, voices in self._sounds.items():
            for voice in voices:
                sound = voice.take()
                if sound is not None and track not in muted:
                    mix += sound
        samples, pts = self._limiter.process(mix), number * TICK - BLOCK
        if pts < 0:
            samples, pts = samples[-pts:], 0
        self._segmenter.receive_audio(self._audio.encode(samples, pts))

    def _put(self, parts: list[Part]) -> None:
        for part in parts:
            self._recorder.add(part.data, part.pts, independent=part.independent, duration=part.duration)


def _lines(directory: Path) -> list[Line]:
    decode: Callable[[bytes], Line] = msgspec.json.Decoder(Line).decode
    found = []
    try:
        for line in (directory / ROOM).read_bytes().splitlines():
            try:
                found.append(decode(line))
            except msgspec.MsgspecError:
                continue  # the last line may be incomplete
    except OSError:
        return []
    return found


def _end(track_file: RecordedTrackFile) -> float:
    with av.open(str(track_file.path)) as source:
        return track_file.started_at + (source.duration or 0) / 1_000_000
