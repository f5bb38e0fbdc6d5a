"""The worker's pipeline: starts and stops the picture clock (`video_loop`) and the sound clock (`audio_loop`), which share
mix time, applies commands and reports the status.

The tick thread alone writes the canvas and encodes the first rendition.
"""

import logging
import resource
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from sfu.egress import protocol
from sfu.egress.audio_loop import AudioLoop
from sfu.egress.composite_outputs import CompositeOutputs
from sfu.egress.heartbeat import Progress
from sfu.egress.inputs import Inputs
from sfu.egress.protocol import Caption, Event, Outputs, Start, Started, Status, ToServer
from sfu.egress.scene_selection import SceneSelection
from sfu.egress.video_loop import VideoLoop
from sfu.egress.video_mix import VideoMix
from sfu.mixer.audio_mixer import AudioMixer
from sfu.mixer.compositor import Compositor
from sfu.mixer.decoding import DecoderPool
from sfu.mixer.frame_clock import FrameClock
from sfu.mixer.plugins import Cue, PluginHost, load
from sfu.mixer.scene import Rectangle, Scene, Tile
from sfu.outputs.encoder import VIDEO_RATE
from sfu.resources.media_clock import unix_time

log = logging.getLogger(__name__)

STATUS_INTERVAL: Final = 0.5
START_DELAY: Final = 0.005
"""Seconds between the start and the first tick."""
_PAGE: Final = resource.getpagesize()

Command = protocol.Layout | Outputs


class Pipeline:
    """Composites, encodes and mixes on two threads. `command` and `event` may be called from any thread."""

    def __init__(
        self,
        start: Start,
        inputs: Inputs,
        decoders: DecoderPool,
        sound: AudioMixer,
        send: Callable[[ToServer], None],
        send_rtp: Callable[[list[bytes]], None],
    ) -> None:
        top = start.renditions[0]
        self._start = start
        self._inputs = inputs
        self._decoders = decoders
        self._sound = sound
        self._send = send
        self._send_rtp = send_rtp
        self._compositor = Compositor(top.width, top.height, directory=Path(start.scenes) if start.scenes else None)
        self._scenes = SceneSelection(top.width, top.height, inputs, send, self.event)
        self._commands: deque[Command] = deque()
        self._steady_clock = True
        self._plugins: PluginHost | None = None
        self._status_sent_at = 0.0
        self._t0 = float("inf")
        self._threads: list[threading.Thread] = []
        self._stopping = threading.Event()
        self.failed: str = ""

    @property
    def started(self) -> bool:
        return self._t0 < float("inf")

    def start(self) -> None:
        """Starts mix time. The commands and members of the first picture must be set before."""
        self._warm_up()
        if self._start.plugins:
            self._plugins = PluginHost(load(self._start.plugins), self._sound.say, self._caption, self._note)
        self._outputs = CompositeOutputs(self._start, self._send, self._send_rtp)
        for command in self._commands:
            if isinstance(command, Outputs):
                self._outputs.prepare(command)
        at = unix_time() + START_DELAY
        t0 = time.monotonic() + START_DELAY
        self._video_mix = VideoMix(self._scenes, self._inputs, self._compositor, self._outputs.video, self._plugins)
        self._video_loop = VideoLoop(FrameClock(t0, self._start.fps), self._decoders, self._tick, self._waited)
        self._audio_loop = AudioLoop(self._sound, t0, self._outputs.sound, self._plugins)
        self._outputs.started_at = at
        self._t0 = t0
        self._send(Started(at=at))
        for name, run in (("tick", self._video_loop.run), ("sound", self._audio_loop.run)):
            thread = threading.Thread(target=self._guarded, args=(run,), name=name, daemon=True)
            self._threads.append(thread)
            thread.start()

    def _warm_up(self) -> None:
        """Loads fonts and renders the names once, because both are too slow for the first ticks."""
        area = Rectangle(0, 0, 160, 90)
        tiles = [Tile(area, name=member.name, label=member.name) for member in self._inputs.members]
        Compositor(160, 90).composite(Scene(160, 90, (Tile(area, name="a", label="a", muted=True), *tiles)), {})

    def command(self, command: Command) -> None:
        """Queues a command for the next tick."""
        if isinstance(command, Outputs) and self.started:
            self._outputs.prepare(command)
        self._commands.append(command)

    def keyframe(self) -> None:
        """Requests a keyframe for a subscriber of the output participant."""
        if self.started:
            self._outputs.keyframe()

    def progress(self) -> Progress:
        """Counters of both clocks."""
        return (self._video_loop.ticks, self._audio_loop.blocks) if self.started and self.running else ()

    def event(self, kind: str, text: str, *, chapter: bool = False, **fields: str) -> None:
        """Writes to the event log with the current mix time."""
        at = max(0.0, time.monotonic() - self._t0)  # 0 before the start
        self._send(Event(at=round(at, 3), kind=kind, text=text, chapter=chapter, fields=fields))

    def close(self) -> None:
        """Stops both clocks and flushes the outputs."""
        self._stop()
        if self.started:
            for thread in self._threads:
                thread.join(2.0)
            self._outputs.close()
            if self._plugins is not None:
                self._plugins.close()

    @property
    def running(self) -> bool:
        return not self._stopping.is_set()

    def _guarded(self, run: Callable[[], None]) -> None:
        try:
            run()
        except OSError:
            pass  # the server is gone; so are its viewers
        except Exception as error:
            log.exception("pipeline failed")
            self.failed = f"{type(error).__name__} in the pipeline."
        finally:
            self._stop()

    def _stop(self) -> None:
        self._stopping.set()
        if self.started:
            self._video_loop.stop()
            self._audio_loop.stop()

    def _tick(self, now: float, number: int) -> None:
        pts = number * (VIDEO_RATE // self._start.fps)
        while self._commands:
            self._apply_command(self._commands.popleft(), pts)
        self._video_mix.draw(now, pts)
        if now - self._status_sent_at >= STATUS_INTERVAL:
            self._status_sent_at = now
            self._send(self._status())

    def _waited(self, now: float) -> float | None:
        """Segments need an even clock. Otherwise the tick follows the largest picture, which lowers latency."""
        return None if self._steady_clock else self._scenes.waited(now)

    def _apply_command(self, command: Command, pts: int) -> None:
        if isinstance(command, Outputs):
            self._outputs.change(command, pts)
            self._steady_clock = command.live or command.recording
        else:
            self._scenes.apply(command)

    def _caption(self, cue: Cue) -> None:
        with suppress(OSError):  # the server is gone, and the process ends
            self._send(Caption(language=cue.language, text=cue.text, start=max(0.0, cue.start), end=max(0.0, cue.end)))

    def _note(self, kind: str, text: str, **fields: str) -> None:
        with suppress(OSError):
            self.event(f"plug-in {kind}", text, chapter=False, **fields)

    def _status(self) -> Status:
        usage = resource.getrusage(resource.RUSAGE_SELF)
        return Status(
            ticks=self._video_loop.ticks + 1,  # with the current one
            dropped_ticks=self._video_loop.dropped,
            tiles=len(self._scenes.scene.tiles),
            layout=self._scenes.layout,
            cpu=round(usage.ru_utime + usage.ru_stime, 3),
            memory=_resident(),
            overloaded=self._overloaded(),
            destinations=self._outputs.states(),
        )

    def _overloaded(self) -> dict[str, int]:
        counts = self._outputs.overloaded()
        if self._plugins is not None:
            counts |= {f"plug-in {name}": counters.dropped for name, counters in self._plugins.counters().items()}
        return {name: count for name, count in counts.items() if count}


def _resident() -> int:
    with open("/proc/self/statm", "rb") as file:
        return int(file.read().split()[1]) * _PAGE
