"""Third-party plug-ins of the mixer: they receive and replace pictures and sound, and never block the mixer.

A package registers a plug-in as an entry point in the group `sfu.mixer`; the operator configures which ones run. Each
has its own thread and bounded queue: if it is too slow, the oldest entries are dropped and counted. A plug-in that
raises is disabled, its traceback is logged and its overlays are removed; the egress continues.

    [project.entry-points."sfu.mixer"]
    captions = "sfu.mixer.examples.captions:Captions"

Pictures are I420 of shape (height * 3 // 2, width), limited range BT.601; sound is float32 of shape (samples, 2), 48 kHz.
"""

import logging
import math
import re
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Final, NamedTuple, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from sfu.errors import ConfigurationError
from sfu.mixer.labels import Overlay
from sfu.mixer.picture import Picture, planes_of

__all__ = [
    "I420",
    "MIX",
    "Cue",
    "Overlay",
    "Plugin",
    "PluginContext",
    "PluginHost",
    "PluginInputs",
    "Sound",
    "available",
    "load",
]

log = logging.getLogger(__name__)

I420: TypeAlias = NDArray[np.uint8]
Sound: TypeAlias = NDArray[np.float32]

GROUP: Final = "sfu.mixer"
MIX: Final = ""
"""Source name of the mix itself."""
PICTURES: Final = 4
"""Pictures of all sources together that are queued for one plug-in."""
SOUNDS: Final = 100
"""Blocks of 20 ms of all sources together that are queued for one plug-in."""
FRESH: Final = 0.5
"""Seconds for which a returned picture replaces that of its source."""
_OVERLAYS: Final = 16
"""Overlays of one plug-in at most."""
_CUE: Final = 500
"""Characters of a caption or an event text."""
_LANGUAGE: Final = re.compile(r"[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8}){0,3}")
_CLOSE: Final = 2.0
"""Seconds to wait for the thread of a plug-in to end."""


@dataclass(frozen=True, slots=True)
class PluginInputs:
    """The inputs that a plug-in requests. Only requested inputs are copied."""

    pictures: bool = False
    "Pictures of the participants; a returned one is shown instead."
    sound: bool = False
    "Sound of the participants."
    replaces_sound: bool = False
    "The mix contains the returned sound, a few ticks later, instead of the participants' original sound."
    mix_pictures: bool = False
    mix_sound: bool = False


class PluginContext(Protocol):
    """Actions that a plug-in may take at any time, from any thread."""

    def show(self, name: str, overlay: Overlay | None, x: int = 0, y: int = 0) -> None:
        """Shows an overlay on the mix until it is replaced, or removed with None. `x` and `y` are even."""

    def say(self, samples: Sound) -> None:
        """Queues sound for the mix, after the sound queued before."""

    def caption(self, text: str, start: float, end: float, language: str = "en") -> None:
        """Adds a caption to the caption track. `start` and `end` are times of the mix in seconds.

        A caption that is empty, that ends before it starts or that ends before the mix began is ignored. Raises ValueError for
        an invalid language.
        """

    def note(self, kind: str, text: str, **fields: str) -> None:
        """Adds an event to the event log of the egress, at the current time of the mix."""


class Cue(NamedTuple):
    """One caption. `start` and `end` are times of the mix in seconds; `language` is a BCP 47 tag."""

    language: str
    text: str
    start: float
    end: float


class Note(Protocol):
    def __call__(self, kind: str, text: str, **fields: str) -> None: ...


def _no_event_log(kind: str, text: str, **fields: str) -> None:
    """Discards an event."""


class Plugin:
    """Base class of plug-ins: override `inputs` and the methods you need. All methods but the constructor run on the
    plug-in's thread.
    """

    inputs = PluginInputs()

    def start(self, context: PluginContext) -> None:
        """Called first."""

    def picture(self, source: str, picture: I420, at: float) -> I420 | None:
        """`at`: time of the mix in seconds. The plug-in owns the array and may modify and return it."""
        return None

    def sound(self, source: str, sound: Sound, at: float) -> Sound | None:
        """20 ms of sound; otherwise like `picture`."""
        return None

    def close(self) -> None:
        """Called last."""


Factory: TypeAlias = Callable[[Mapping[str, str]], Plugin]
"""The object that an entry point refers to. Takes the operator's options for the plug-in."""


class PluginCounters(NamedTuple):
    taken: int
    dropped: int
    "Pictures and blocks of sound that were dropped because the plug-in was too slow."
    failed: bool


class _Item(NamedTuple):
    sound: bool
    source: str
    array: NDArray[np.uint8] | NDArray[np.float32]
    at: float


class _Runner:
    """One plug-in with its thread and queues. Implements `PluginContext`."""

    def __init__(
        self,
        name: str,
        plugin: Plugin,
        say: Callable[[str, Sound], None],
        add_caption: Callable[[Cue], None],
        note: "Note",
    ) -> None:
        self.name = name
        self._add_caption = add_caption
        self._note = note
        self.inputs = plugin.inputs
        self.taken = self.dropped = 0
        self.failed = False
        self.pictures: dict[str, tuple[Picture, float]] = {}
        self.overlays: dict[str, tuple[Overlay, int, int]] = {}
        self._plugin = plugin
        self._say = say
        self._condition = threading.Condition()
        self._queues: tuple[deque[_Item], deque[_Item]] = deque(), deque()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name=f"plug-in {name}", daemon=True)
        self._thread.start()

    def offer(self, item: _Item) -> None:
        queue, limit = self._queues[item.sound], SOUNDS if item.sound else PICTURES
        with self._condition:
            if self.failed or self._closed:
                return
            if len(queue) >= limit:
                queue.popleft()
                self.dropped += 1
            queue.append(item)
            self._condition.notify()

    def show(self, name: str, overlay: Overlay | None, x: int = 0, y: int = 0) -> None:
        found = {key: value for key, value in self.overlays.items() if key != name}
        if overlay is not None and not self.failed:
            if x % 2 or y % 2 or x < 0 or y < 0:
                raise ValueError("the coordinates of an overlay must be even and not negative")
            if len(found) >= _OVERLAYS:
                raise ValueError(f"a plug-in may show at most {_OVERLAYS} overlays")
            found[name] = overlay, x, y
        self.overlays = found

    def say(self, samples: Sound) -> None:
        if not self.failed:
            self._say(f"plug-in {self.name}", _checked_sound(samples))

    def caption(self, text: str, start: float, end: float, language: str = "en") -> None:
        if not _LANGUAGE.fullmatch(language):
            raise ValueError("the language must be a tag such as `en` or `pt-BR`")
        first, last = max(0.0, float(start)), float(end)  # speech may precede the mix
        if text.strip() and last > first and math.isfinite(end - start) and not self.failed:
            self._add_caption(Cue(language, text.strip()[:_CUE], first, last))

    def note(self, kind: str, text: str, **fields: str) -> None:
        if not self.failed:
            self._note(kind[:64], text[:_CUE], **{key[:64]: value[:_CUE] for key, value in fields.items()})

    def close(self) -> None:
        with self._condition:
            self._closed = True
            self._condition.notify()
        self._thread.join(_CLOSE)

    def _run(self) -> None:
        try:
            self._plugin.start(self)
            while (item := self._next()) is not None:
                self.taken += 1
                if item.sound:
                    self._take_sound(item)
                else:
                    self._take_picture(item)
            self._plugin.close()
        except Exception:
            log.exception("mixer plug-in disabled", extra={"plugin": self.name})
            with self._condition:
                self.failed = True
                for queue in self._queues:
                    queue.clear()
        self.overlays = {}
        self.pictures = {}

    def _next(self) -> _Item | None:
        pictures, sounds = self._queues
        with self._condition:
            self._condition.wait_for(lambda: pictures or sounds or self._closed)
            if self._closed:
                return None
            return sounds.popleft() if sounds else pictures.popleft()

    def _take_picture(self, item: _Item) -> None:
        picture = np.asarray(item.array, np.uint8)
        given = self._plugin.picture(item.source, picture, item.at)
        if given is None or item.source == MIX:
            return
        if given.dtype != np.uint8 or given.ndim != 2 or given.shape[0] % 3 or given.shape[1] % 2:
            raise ValueError("a returned picture must be I420: uint8 of shape (height * 3 // 2, width)")
        made = Picture.of_array(np.ascontiguousarray(given))
        now = time.monotonic()
        fresh = {source: found for source, found in self.pictures.items() if now - found[1] < FRESH}
        self.pictures = {**fresh, item.source: (made, now)}

    def _take_sound(self, item: _Item) -> None:
        given = self._plugin.sound(item.source, np.asarray(item.array, np.float32), item.at)
        if given is not None:
            voice = f"plug-in {self.name}" + (f" {item.source}" if item.source else "")
            self._say(voice, _checked_sound(given))


class PluginHost:
    """All plug-ins of an egress. The `offer` methods never block and never raise."""

    def __init__(
        self,
        plugins: Mapping[str, Plugin],
        say: Callable[[str, Sound], None],
        add_caption: Callable[[Cue], None] = lambda cue: None,
        note: "Note | None" = None,
    ) -> None:
        """`say`: `AudioMixer.say`; `add_caption` writes to the caption track and `note` to the event log.

        All three are called on the threads of the plug-ins.
        """
        self._runners = [
            _Runner(name, plugin, say, add_caption, note or _no_event_log) for name, plugin in plugins.items()
        ]

    def offer_picture(self, source: str, picture: Callable[[], I420] | I420, at: float) -> None:
        """`source`: a participant's tile, or MIX. `picture`: an array, which is copied for each plug-in that wants it,
        or a function that returns a copy (`Picture.as_array`) and is called once per such plug-in.
        """
        for runner in self._runners:
            wanted = runner.inputs.mix_pictures if source == MIX else runner.inputs.pictures
            if wanted and not runner.failed:
                runner.offer(_Item(False, source, picture() if callable(picture) else picture.copy(), at))

    def offer_sound(self, source: str, sound: Sound, at: float) -> None:
        """Offers sound before it is mixed. Silences `sound` in place if a plug-in replaces it."""
        replaced = False
        for runner in self._runners:
            wanted = runner.inputs.mix_sound if source == MIX else runner.inputs.sound
            if wanted and not runner.failed:
                runner.offer(_Item(True, source, sound.copy(), at))
                replaced = replaced or (runner.inputs.replaces_sound and source != MIX)
        if replaced:
            sound[:] = 0

    def picture(self, source: str) -> Picture | None:
        """The replacement for a participant's picture, if a plug-in returned one recently."""
        now = time.monotonic()
        for runner in self._runners:
            found = runner.pictures.get(source)
            if found is not None and now - found[1] < FRESH:
                return found[0]
        return None

    @contextmanager
    def over(self, canvas: I420) -> Iterator[None]:
        """Draws all overlays onto the canvas while the context is active, and removes them afterwards."""
        planes = planes_of(canvas)
        beneath: list[tuple[NDArray[np.uint8], NDArray[np.uint8]]] = []
        for runner in self._runners:
            for overlay, x, y in runner.overlays.values():
                for index, plane in enumerate(planes):
                    half = 2 if index else 1
                    rows = slice(y // half, (y + overlay.height) // half)
                    region = plane[rows, x // half : (x + overlay.width) // half]
                    beneath.append((region, region.copy()))
                overlay.apply(planes, x, y)
        try:
            yield
        finally:
            for region, before in reversed(beneath):
                region[:] = before

    def counters(self) -> dict[str, PluginCounters]:
        return {runner.name: PluginCounters(runner.taken, runner.dropped, runner.failed) for runner in self._runners}

    def close(self) -> None:
        """Idempotent. A plug-in that does not end in time is abandoned."""
        for runner in self._runners:
            runner.close()


def available() -> list[str]:
    """Names of the installed plug-ins."""
    return sorted(point.name for point in entry_points(group=GROUP))


def load(wanted: Mapping[str, Mapping[str, str]]) -> dict[str, Plugin]:
    """Creates the plug-ins in `wanted`, which maps names to options. A plug-in that fails to load is logged and left out.

    Raises ConfigurationError if one is not installed.
    """
    points = {point.name: point for point in entry_points(group=GROUP)}
    found: dict[str, Plugin] = {}
    for name, options in wanted.items():
        if name not in points:
            known = ", ".join(sorted(points)) or "none"
            raise ConfigurationError(f"there is no mixer plug-in {name}; installed: {known}")
        try:
            factory: Factory = points[name].load()
            found[name] = factory(options)
        except Exception:
            log.exception("mixer plug-in cannot be loaded", extra={"plugin": name})
    return found


def _checked_sound(samples: Sound) -> Sound:
    sound = np.asarray(samples, np.float32)
    if sound.ndim != 2 or sound.shape[1] != 2 or not np.isfinite(sound).all():
        raise ValueError("returned sound must be finite float32 of shape (samples, 2)")
    return np.clip(sound, -4, 4)
