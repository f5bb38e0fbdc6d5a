from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from sfu.bots.picture import read_stamp
from sfu.bots.synthetic_media import Clapper, DrawnBot, MediaFile, clapping
from sfu.bots.voice import FRAME, SILENT, Turn, Voice
from sfu.errors import ConfigurationError


def test_the_mouth_of_a_drawn_bot_moves_with_its_voice() -> None:
    bot = DrawnBot("Ada", 0.5, Voice(320), Turn(0, 2, 6.0))
    silent, speaking = (bot.picture(at, 320, 180).to_ndarray()[60:120] for at in (6.1, 0.1))
    assert not np.array_equal(silent, speaking)
    samples, level = bot.sound(5)
    assert len(samples) == 2 * FRAME
    assert level < SILENT


@pytest.mark.parametrize(
    ("at", "claps"), [(100.0, True), (100.09, True), (100.11, False), (100.49, False), (100.5, True)]
)
def test_flash_and_tone_of_a_clap_coincide(at: float, claps: bool) -> None:
    assert clapping(at) is claps
    bot = Clapper("Clara")
    luma = bot.picture(at, 320, 180).to_ndarray()[:180].astype(np.uint8, copy=False)
    assert bool(luma[100:130, 100:200].mean() > 230) is claps
    assert read_stamp(luma) == int(at * 1000)
    samples, level = bot.sound(int(at * 50))
    assert len(samples) == 2 * FRAME
    assert (level < SILENT) is claps


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One second of video at 10 fps that becomes brighter, and half a second of a loud tone."""
    path = tmp_path_factory.mktemp("film") / "film.mkv"
    with av.open(str(path), "w") as container:
        video = container.add_stream("libvpx", rate=10)
        video.width, video.height, video.pix_fmt = 64, 64, "yuv420p"
        audio = container.add_stream("libopus", rate=48_000)
        for index in range(10):
            frame = av.VideoFrame.from_ndarray(np.full((96, 64), 40 + 20 * index, np.uint8), format="yuv420p")
            frame.pts, frame.time_base = index, Fraction(1, 10)
            container.mux(video.encode(frame))
        wave = (12_000 * np.sin(np.arange(24_000) * 2 * np.pi * 400 / 48_000)).astype(np.int16)
        sound = av.AudioFrame.from_ndarray(np.repeat(wave, 2)[None, :], format="s16", layout="stereo")
        sound.sample_rate, sound.pts = 48_000, 0
        container.mux(audio.encode(sound))
        container.mux(video.encode(None))
        container.mux(audio.encode(None))
    return path


def test_a_file_is_played_in_a_loop(film: Path) -> None:
    played = MediaFile(film)
    assert played.has_video
    assert played.has_audio
    begun = played._begun
    brightness = [played.picture(begun + 0.05 + at / 10, 64, 64).to_ndarray()[10, 10] for at in range(25)]
    assert abs(int(brightness[0]) - 40) < 12
    assert abs(int(brightness[5]) - 140) < 12
    assert min(brightness[10:14]) < 60
    levels = [played.sound(number)[1] for number in range(100)]
    assert max(levels[5:20]) < 20
    assert min(levels[30:45]) > 60
    assert min(levels[55:75]) < 20


def test_unplayable_files_are_rejected(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be played"):
        MediaFile(tmp_path / "none.mp4")
    (tmp_path / "text.txt").write_text("hello")
    with pytest.raises(ConfigurationError):
        MediaFile(tmp_path / "text.txt")
