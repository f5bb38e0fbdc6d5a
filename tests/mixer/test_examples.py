"""sfu.mixer.examples: captions are shown while they are due; loudness matches EBU R 128."""

import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from sfu.mixer.examples.captions import Captions, draw
from sfu.mixer.examples.loudness import SILENCE, Loudness
from sfu.mixer.plugins import MIX, PluginHost


def until(true: Callable[[], object]) -> None:
    deadline = time.monotonic() + 5
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def test_captions_from_the_callback_are_shown_for_their_time() -> None:
    heard: list[str] = []

    def transcribe(source: str, sound: np.ndarray) -> str | None:
        heard.append(source)
        return "Guten Morgen, 早上好" if len(heard) == 3 else None

    captions = Captions({"seconds": "2"}, transcribe)
    host = PluginHost({"captions": captions}, lambda voice, samples: None)
    canvas = np.full((540, 640), 60, np.uint8)

    def seen() -> bool:
        with host.over(canvas):
            return bool((canvas[280:350] > 200).any())

    host.offer_picture(MIX, canvas, 10.0)
    until(lambda: host.counters()["captions"].taken == 1)
    assert not seen()
    for _ in range(3):
        host.offer_sound("ana", np.zeros((960, 2), np.float32), 10.0)
    until(lambda: len(heard) == 3)
    host.offer_picture(MIX, canvas, 10.1)
    until(seen)
    host.offer_picture(MIX, canvas, 12.1)
    until(lambda: not seen())
    captions.caption("And from elsewhere")
    host.offer_picture(MIX, canvas, 12.2)
    until(seen)
    assert (canvas == 60).all()
    host.close()


@pytest.mark.parametrize("text", ["", "   ", "short", "a very " * 60, "名前" * 200, "\x00\n\u202e"])
def test_any_text_fits(text: str) -> None:
    overlay = draw(text, 640, 360)
    if overlay is None:
        assert not text.strip("\x00\n\u202e ")
    else:
        assert overlay.width <= 640
        assert overlay.height <= 80


def measure(sound: np.ndarray, **options: str) -> Loudness:
    meter = Loudness(options)
    for at in range(0, len(sound) - 959, 960):
        meter.sound(MIX, sound[at : at + 960], at / 48_000)
    return meter


@pytest.mark.parametrize(("level", "expected"), [(-23.0, -23.0), (-33.0, -33.0)])
def test_a_tone_of_1_kilohertz(level: float, expected: float) -> None:
    """EBU Tech 3341, cases 1 and 2, within ± 0.1 LU."""
    tone = 10 ** (level / 20) * np.sin(2 * np.pi * 1000 * np.arange(20 * 48_000) / 48_000)
    meter = measure(np.stack([tone, tone], axis=1).astype(np.float32))
    for value in (meter.momentary, meter.short_term, meter.integrated):
        assert value == pytest.approx(expected, abs=0.1)


def test_quiet_passages_are_gated() -> None:
    """EBU Tech 3341, case 3: 10 s at −36, 60 s at −23 and 10 s at −36 LUFS give −23 LUFS."""
    levels = np.repeat(10 ** (np.array([-36.0] * 10 + [-23.0] * 60 + [-36.0] * 10) / 20), 48_000)
    tone = levels * np.sin(2 * np.pi * 1000 * np.arange(80 * 48_000) / 48_000)
    meter = measure(np.stack([tone, tone], axis=1).astype(np.float32))
    assert meter.integrated == pytest.approx(-23, abs=0.1)
    assert meter.short_term == pytest.approx(-36, abs=0.1)


def test_silence_and_sound_of_participants_do_not_count() -> None:
    meter = measure(np.zeros((48_000, 2), np.float32))
    meter.sound("ana", np.ones((48_000, 2), np.float32), 0.0)
    assert (meter.momentary, meter.short_term, meter.integrated) == (SILENCE,) * 3


@pytest.mark.skipif(not shutil.which("ffmpeg"), reason="requires ffmpeg with its ebur128 filter")
def test_loudness_of_noise_matches_ffmpeg(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    noise = np.cumsum(rng.normal(0, 0.01, (10 * 48_000, 2)), axis=0)
    noise = (noise - np.roll(noise, 300, axis=0) + rng.normal(0, 0.02, noise.shape)).astype(np.float32)
    raw = tmp_path / "noise.f32"
    raw.write_bytes(noise.tobytes())
    arguments = ["-f", "f32le", "-ar", "48000", "-ac", "2", "-i", str(raw), "-af", "ebur128", "-f", "null", "-"]
    done = subprocess.run(
        ["ffmpeg", "-hide_banner", "-nostats", *arguments], capture_output=True, text=True, check=True
    )
    expected = float(done.stderr.rsplit("I:", 1)[1].split()[0])
    assert measure(noise).integrated == pytest.approx(expected, abs=0.3)


def test_the_bar_is_shown() -> None:
    tone = 0.1 * np.sin(np.arange(48_000) / 8)
    sound = np.stack([tone, tone], axis=1).astype(np.float32)
    host = PluginHost({"loudness": Loudness({"bar": "yes", "log": "0.5"})}, lambda voice, samples: None)
    for at in range(0, 48_000, 960):
        host.offer_sound(MIX, sound[at : at + 960], at / 48_000)
    canvas = np.full((540, 640), 60, np.uint8)

    def seen() -> bool:
        with host.over(canvas):
            return bool((canvas[16:176, 16:28] > 100).any())

    until(seen)
    host.close()
