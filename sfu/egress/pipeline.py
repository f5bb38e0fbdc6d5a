"""The worker's two clocks: the tick, which composites and encodes a picture, and the 20 ms sound block. Both define mix time.

The tick thread alone writes the canvas and encodes the first rendition. If it is late by more than a tick, it drops
ticks: viewers see one picture for twice the time, and no delay builds up.
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
from sfu.egress.composite_outputs import CompositeOutputs
from sfu.egress.heartbeat import Progress
from sfu.egress.inputs import Inputs
from sfu.egress.protocol import Caption, Event, Outputs, Start, Started, Status, TileSize, ToServer, VisibleTracks
from sfu.errors import BadRequest
from sfu.mixer.audio_mixer import LATENCY, MARGIN, RATE, TICK, AudioMixer
from sfu.mixer.compositor import Compositor
from sfu.mixer.decoding import DecoderPool
from sfu.mixer.director import Director
from sfu.mixer.frame_clock import FrameClock
from sfu.mixer.layout import Layout
from sfu.mixer.picture import Picture
from sfu.mixer.plugins import MIX, Cue, PluginHost, Sound, load
from sfu.mixer.scene import Rectangle, Scene, Tile, parse_template
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
        self._width, self._height = top.width, top.height
        self._director = Director()
        self._focus = ""
        self._compositor = Compositor(top.width, top.height, directory=Path(start.scenes) if start.scenes else None)
        self._scene = Scene(top.width, top.height)
        self._scene_key: tuple[object, ...] = ()
        self._last_decision: object = None
        self._visible_sent: VisibleTracks | None = None
        self._commands: deque[Command] = deque()
        self._stopping = threading.Event()
        self.shown: set[str] = set()
        """Track ids of the pictures in the scene."""
        self._ticks = self._sounds = 0
        self._steady_clock = True
        self._plugins: PluginHost | None = None
        self._offered: dict[str, Picture | None] = {}
        self._sound_at = 0.0
        self._status_sent_at = 0.0
        self._send_rtp = send_rtp
        self._t0 = float("inf")
        self._threads = [
            threading.Thread(target=self._guarded, args=(step,), name=name, daemon=True)
            for name, step in (("tick", self._run_ticks), ("sound", self._run_sound))
        ]
        self.failed: str = ""

    @property
    def started(self) -> bool:
        return self._t0 < float("inf")

    def start(self) -> None:
        """Starts mix time. The commands and members of the first picture must be set before."""
        self._warm_up()
        self._plugins = (
            PluginHost(load(self._start.plugins), self._sound.say, self._caption, self._note)
            if self._start.plugins
            else None
        )
        if self._plugins is not None:
            self._sound.on_source = self._offer_source_sound
        self._outputs = CompositeOutputs(self._start, self._send, self._send_rtp)
        for command in self._commands:
            if isinstance(command, Outputs):
                self._outputs.prepare(command)
        at = unix_time() + START_DELAY
        self._t0 = time.monotonic() + START_DELAY
        self._clock = FrameClock(self._t0, self._start.fps)
        self._outputs.started_at = at
        self._send(Started(at=at))
        for thread in self._threads:
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
        return (self._ticks, self._sounds) if self.started and self.running else ()

    def event(self, kind: str, text: str, *, chapter: bool = False, **fields: str) -> None:
        """Writes to the event log with the current mix time."""
        at = max(0.0, time.monotonic() - self._t0)  # 0 before the start
        self._send(Event(at=round(at, 3), kind=kind, text=text, chapter=chapter, fields=fields))

    def close(self) -> None:
        """Stops both clocks and flushes the outputs."""
        self._stopping.set()
        if self.started:
            for thread in self._threads:
                thread.join(2.0)
            self._outputs.close()
            if self._plugins is not None:
                self._plugins.close()

    @property
    def running(self) -> bool:
        return not self._stopping.is_set()

    def _guarded(self, step: Callable[[], None]) -> None:
        try:
            step()
        except OSError:
            pass  # the server is gone; so are its viewers
        except Exception as error:
            log.exception("pipeline failed")
            self.failed = f"{type(error).__name__} in the pipeline."
        finally:
            self._stopping.set()

    # -- pictures ---------------------------------------------------------------------------------------------------

    def _run_ticks(self) -> None:
        step = VIDEO_RATE // self._start.fps
        clock = self._clock
        while not self._stopping.is_set():
            _sleep_until(clock.due - self._decoders.lead)
            self._decoders.decode_waiting()
            _sleep_until(clock.due)
            now = time.monotonic()
            self._tick(now, clock.begin(now) * step)
            # Segments need a steady clock. Otherwise the tick follows the largest picture, which lowers latency.
            wait = None if self._steady_clock else self._largest_wait(now)
            clock.steer(wait)

    def _largest_wait(self, now: float) -> float | None:
        """Seconds that the largest visible picture has waited for this tick."""
        tile = max(self._scene.tiles, key=lambda tile: tile.area.width * tile.area.height, default=None)
        source = self._inputs.sources.get(tile.source) if tile is not None else None
        return source.waited(now) if source is not None else None

    def _tick(self, now: float, pts: int) -> None:
        while self._commands:
            self._apply_command(self._commands.popleft(), pts)
        scene = self._direct(now)
        sources = self._inputs.sources
        pictures = {tile.source: sources[tile.source].picture_at(now) for tile in scene.tiles if tile.source in sources}
        if self._plugins is None:
            self._outputs.video(self._compositor.composite(scene, pictures), pts)
        else:
            self._tick_with_plugins(self._plugins, scene, pictures, pts)
        self._ticks += 1
        if now - self._status_sent_at >= STATUS_INTERVAL:
            self._status_sent_at = now
            self._send(self._status())

    def _tick_with_plugins(
        self, plugins: PluginHost, scene: Scene, pictures: dict[str, Picture | None], pts: int
    ) -> None:
        """Composites with plug-ins: offers them each new picture and shows their replacements."""
        at = pts / VIDEO_RATE
        offered, self._offered = self._offered, dict(pictures)
        for source, picture in pictures.items():
            if picture is not None and offered.get(source) is not picture:
                plugins.offer_picture(source, picture.as_array, at)
            pictures[source] = plugins.picture(source) or picture
        canvas = self._compositor.composite(scene, pictures)
        plugins.offer_picture(MIX, canvas, at)
        with plugins.over(canvas):
            self._outputs.video(canvas, pts)

    def _caption(self, cue: Cue) -> None:
        with suppress(OSError):  # the server is gone, and the process ends
            self._send(Caption(language=cue.language, text=cue.text, start=max(0.0, cue.start), end=max(0.0, cue.end)))

    def _note(self, kind: str, text: str, **fields: str) -> None:
        with suppress(OSError):
            self.event(f"plug-in {kind}", text, chapter=False, **fields)

    def _offer_source_sound(self, source: str, sound: Sound) -> None:
        if self._plugins is not None:
            self._plugins.offer_sound(source, sound, self._sound_at)

    def _apply_command(self, command: Command, pts: int) -> None:
        if isinstance(command, Outputs):
            self._outputs.change(command, pts)
            self._steady_clock = command.live or command.recording
            return
        self._focus = command.focus
        self._scene_key = ()
        if command.scene:
            try:
                self._director.use_template(parse_template(command.scene))
            except BadRequest as error:
                self.event("scene-refused", error.message)
        else:
            self._director.choose(None if command.layout == "auto" else Layout(command.layout))

    def _direct(self, now: float) -> Scene:
        inputs = self._inputs
        version, members = inputs.version, inputs.members
        self._director.pin(inputs.identity(self._focus) if self._focus else "")
        decision = self._director.direct(members, inputs.dominant, now)
        scene_key = (version, decision)
        if scene_key == self._scene_key:
            return self._scene
        self._scene_key = scene_key
        scene = self._director.scene(members, self._width, self._height)
        if scene != self._scene:
            self._scene = scene
        self._request_tiles(self._scene)
        if decision != self._last_decision:
            self._last_decision = decision
            self.event("layout", decision.layout, chapter=True, stage=decision.stage, presenter=decision.presenter)
        return self._scene

    def _request_tiles(self, scene: Scene) -> None:
        sources = self._inputs.sources
        tiles: dict[str, TileSize] = {}
        for tile in scene.tiles:
            source = sources.get(tile.source)
            if source is not None:
                source.show(tile.area.width, tile.area.height, tile.fit)
                known = tiles.get(tile.source)
                if known is None or known.height < tile.area.height:
                    tiles[tile.source] = TileSize(width=tile.area.width, height=tile.area.height)
        visible = VisibleTracks(tracks=tiles)
        self.shown = set(tiles)
        self._inputs.set_visible_tracks(self.shown)
        if visible != self._visible_sent:
            self._visible_sent = visible
            self._send(visible)

    def _status(self) -> Status:
        usage = resource.getrusage(resource.RUSAGE_SELF)
        return Status(
            ticks=self._ticks,
            dropped_ticks=self._clock.dropped,
            tiles=len(self._scene.tiles),
            layout=str(self._director.decision.layout),
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

    # -- sound ------------------------------------------------------------------------------------------------------

    def _run_sound(self) -> None:
        seconds, number = TICK / RATE, 0
        while not self._stopping.is_set():
            start = self._t0 + number * seconds
            _sleep_until(start + seconds + MARGIN)
            self._sound_at = number * seconds
            samples = self._sound.tick(start)
            if self._plugins is not None:
                self._plugins.offer_sound(MIX, samples, self._sound_at)
            pts = number * TICK - LATENCY
            if pts < 0:
                samples, pts = samples[-pts:], 0
            self._outputs.sound(samples, pts)
            number += 1
            self._sounds = number


def _sleep_until(at: float) -> None:
    wait = at - time.monotonic()
    if wait > 0:
        time.sleep(wait)


def _resident() -> int:
    with open("/proc/self/statm", "rb") as file:
        return int(file.read().split()[1]) * _PAGE
