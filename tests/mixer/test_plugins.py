"""sfu.mixer.plugins: inputs and outputs of plug-ins; a slow, broken or hanging one does not block the mixer."""

import logging
import math
import threading
import time
from collections.abc import Callable, Mapping
from importlib.metadata import EntryPoint

import numpy as np
import pytest

from sfu.errors import ConfigurationError
from sfu.mixer import plugins as module
from sfu.mixer.plugins import (
    MIX,
    PICTURES,
    Cue,
    Overlay,
    Plugin,
    PluginContext,
    PluginHost,
    PluginInputs,
    available,
    load,
)

CANVAS = np.full((270, 320), 100, np.uint8)
TICK = np.full((960, 2), 0.5, np.float32)


def until(true: Callable[[], object]) -> None:
    deadline = time.monotonic() + 5
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.002)


class Voices:
    """Records the samples passed to `say`."""

    def __init__(self) -> None:
        self.said: list[tuple[str, np.ndarray]] = []

    def __call__(self, voice: str, samples: np.ndarray) -> None:
        self.said.append((voice, samples))


class Negative(Plugin):
    """Inverts pictures and sound."""

    inputs = PluginInputs(pictures=True, sound=True, replaces_sound=True)

    def picture(self, source: str, picture: np.ndarray, at: float) -> np.ndarray | None:
        picture[:] = 255 - picture
        return picture

    def sound(self, source: str, sound: np.ndarray, at: float) -> np.ndarray | None:
        return -sound


def test_returned_media_replaces_that_of_the_participant() -> None:
    voices = Voices()
    host = PluginHost({"negative": Negative()}, voices)
    assert host.picture("ana") is None
    host.offer_picture("ana", CANVAS, 0.0)
    host.offer_picture(MIX, CANVAS, 0.0)
    until(lambda: host.picture("ana"))
    found = host.picture("ana")
    assert found is not None
    assert (found.as_array() == 155).all()
    assert found is host.picture("ana")
    assert (CANVAS == 100).all()
    sound = TICK.copy()
    host.offer_sound("ana", sound, 0.0)
    assert not sound.any()
    until(lambda: voices.said)
    assert voices.said[0][0] == "plug-in negative ana"
    assert (voices.said[0][1] == -0.5).all()
    mix = TICK.copy()
    host.offer_sound(MIX, mix, 0.0)
    assert mix.all()
    host.close()
    host.close()
    assert host.picture("ana") is None
    assert host.counters() == {"negative": (2, 0, False)}


def test_old_returned_pictures_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    host = PluginHost({"negative": Negative()}, Voices())
    host.offer_picture("ana", lambda: CANVAS.copy(), 0.0)
    until(lambda: host.picture("ana"))
    monkeypatch.setattr(module, "FRESH", 0.0)
    assert host.picture("ana") is None
    host.close()


def test_only_requested_inputs_are_copied() -> None:
    class Nothing(Plugin):
        pass

    host = PluginHost({"nothing": Nothing()}, Voices())

    def picture() -> np.ndarray:
        raise AssertionError

    host.offer_picture("ana", picture, 0.0)
    host.offer_sound("ana", TICK, 0.0)
    host.close()
    assert host.counters() == {"nothing": (0, 0, False)}


class Slow(Plugin):
    inputs = PluginInputs(mix_pictures=True)

    def __init__(self) -> None:
        self.go = threading.Event()
        self.seen: list[float] = []

    def picture(self, source: str, picture: np.ndarray, at: float) -> np.ndarray | None:
        self.seen.append(at)
        self.go.wait(5)
        return None


def test_a_slow_plug_in_loses_the_oldest_input_and_does_not_block() -> None:
    slow = Slow()
    host = PluginHost({"slow": slow}, Voices())
    host.offer_picture(MIX, CANVAS, 0.0)
    until(lambda: slow.seen)
    before = time.monotonic()
    for number in range(1, 21):
        host.offer_picture(MIX, CANVAS, float(number))
    assert time.monotonic() - before < 2.5  # the caller does not wait for the plug-in's five seconds
    assert host.counters()["slow"].dropped == 20 - PICTURES
    slow.go.set()
    until(lambda: len(slow.seen) == 1 + PICTURES)
    assert slow.seen == [0.0, 17.0, 18.0, 19.0, 20.0]
    host.close()


def test_a_hanging_plug_in_is_abandoned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_CLOSE", 0.05)
    slow = Slow()
    host = PluginHost({"slow": slow}, Voices())
    host.offer_picture(MIX, CANVAS, 0.0)
    until(lambda: slow.seen)
    host.close()
    slow.go.set()


class Broken(Plugin):
    inputs = PluginInputs(pictures=True, sound=True, replaces_sound=True)

    def start(self, context: PluginContext) -> None:
        self.context = context
        context.show("mark", Overlay(np.full((20, 20, 4), 255, np.uint8)), 0, 0)

    def picture(self, source: str, picture: np.ndarray, at: float) -> np.ndarray | None:
        if source == "odd":
            return picture[:-1]
        if source == "float":
            return picture.astype(np.float32)
        raise RuntimeError("this plug-in is broken")

    def sound(self, source: str, sound: np.ndarray, at: float) -> np.ndarray | None:
        return sound[:, :1] if source == "mono" else sound * np.nan


@pytest.mark.parametrize("source", ["odd", "float", "ana", "mono", "nan"])
def test_a_broken_plug_in_is_disabled_and_its_traceback_logged(source: str, caplog: pytest.LogCaptureFixture) -> None:
    voices = Voices()
    broken = Broken()
    host = PluginHost({"broken": broken, "negative": Negative()}, voices)
    canvas = CANVAS.copy()

    def shown() -> bool:
        with host.over(canvas):
            return bool((canvas[:20, :20] > 200).any())

    until(shown)
    if source in ("mono", "nan"):
        host.offer_sound(source, TICK.copy(), 0.0)
    else:
        host.offer_picture(source, CANVAS, 0.0)
    until(lambda: host.counters()["broken"].failed)
    until(lambda: not shown())
    assert "Traceback" in caplog.text
    broken.context.say(TICK)
    broken.context.show("late", Overlay(np.full((20, 20, 4), 255, np.uint8)))
    assert not shown()
    host.offer_picture("ana", CANVAS, 0.0)
    until(lambda: host.picture("ana"))  # the other plug-in continues
    assert not [voice for voice, _ in voices.said if "broken" in voice]
    host.close()


def test_overlays_are_on_the_canvas_only_inside_the_context() -> None:
    class Shows(Plugin):
        def start(self, context: PluginContext) -> None:
            red = np.zeros((40, 60, 4), np.uint8)
            red[..., 0], red[..., 3] = 255, 128
            context.show("a", red_overlay := Overlay(red), 10, 20)
            context.show("b", red_overlay, 300, 170)  # extends beyond the edge
            with pytest.raises(ValueError, match="even"):
                context.show("c", red_overlay, 1, 2)
            context.show("gone", red_overlay, 100, 100)
            context.show("gone", None)
            context.say(TICK)

    voices = Voices()
    host = PluginHost({"shows": Shows()}, voices)
    until(lambda: voices.said)
    canvas = np.random.default_rng(1).integers(16, 235, (270, 320), np.uint8)
    before = canvas.copy()
    for _ in range(3):
        with host.over(canvas):
            changed = canvas != before
            assert changed[20:60, 10:70].mean() > 0.5
            assert changed[170:180, 300:].mean() > 0.5
            assert not changed[100:140, 100:160].any()
        assert np.array_equal(canvas, before)
    with pytest.raises(RuntimeError), host.over(canvas):
        raise RuntimeError
    assert np.array_equal(canvas, before)
    host.close()


def test_captions_that_viewers_cannot_see_are_ignored() -> None:
    """The server refuses negative and infinite times, which would end the worker."""
    cues: list[Cue] = []

    class Speaks(Plugin):
        def start(self, context: PluginContext) -> None:
            for text, start, end in (
                ("spoken before the mix", -3.0, -1.0),
                ("cut at the start", -1.0, 2.0),
                ("", 1.0, 2.0),
                ("empty", 2.0, 2.0),
                ("endless", 1.0, math.inf),
                ("no time", math.nan, 2.0),
                ("no end", 1.0, math.nan),
                (" padded ", 1, 2),
            ):
                context.caption(text, start, end)
            with pytest.raises(ValueError, match="language"):
                context.caption("x", 1.0, 2.0, "../en")
            context.say(TICK)

    voices = Voices()
    host = PluginHost({"speaks": Speaks()}, voices, cues.append)
    until(lambda: voices.said)
    host.close()
    assert cues == [Cue("en", "cut at the start", 0.0, 2.0), Cue("en", "padded", 1.0, 2.0)]


def negative(options: Mapping[str, str]) -> Plugin:
    assert options == {"a": "b"}
    return Negative()


def test_plug_ins_are_loaded_by_name(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    points = [
        EntryPoint("negative", "tests.mixer.test_plugins:negative", module.GROUP),
        EntryPoint("gone", "tests.mixer.no_such_module:x", module.GROUP),
    ]
    monkeypatch.setattr(module, "entry_points", lambda group: points)
    assert available() == ["gone", "negative"]
    caplog.set_level(logging.ERROR)
    found = load({"negative": {"a": "b"}, "gone": {}})
    assert list(found) == ["negative"]
    assert "no_such_module" in caplog.text
    with pytest.raises(ConfigurationError, match="negative"):
        load({"other": {}})
