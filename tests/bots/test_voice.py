import numpy as np
import pytest

from sfu.bots.load_test import PITCHES
from sfu.bots.voice import FRAME, SILENT, Turn, Voice, level, strongest_pitch


@pytest.mark.parametrize("pitch", PITCHES)
def test_a_voice_is_identified_by_its_pitch(pitch: int) -> None:
    voice = Voice(pitch)
    samples = np.concatenate([voice.frame(number) for number in range(3, 9)])
    assert strongest_pitch(samples) == pytest.approx(pitch, rel=0.05)
    assert voice.frame(5).shape == (FRAME,)
    assert 5 < voice.level(5) < 40
    assert np.array_equal(voice.frame(105), voice.frame(5))


def test_syllables_join_without_a_click() -> None:
    samples = np.concatenate([Voice(320).frame(number) for number in range(100)]).astype(int)
    assert abs(np.diff(samples)).max() < 1500


def test_an_odd_pitch_is_rejected() -> None:
    with pytest.raises(ValueError, match="multiple"):
        Voice(441)


@pytest.mark.parametrize(
    ("turn", "at", "speaks"),
    [
        (Turn(), 3.0, True),
        (Turn(), 5.9, True),
        (Turn(0, 3, 6.0), 1.0, True),
        (Turn(0, 3, 6.0), 5.5, False),
        (Turn(0, 3, 6.0), 7.0, False),
        (Turn(1, 3, 6.0), 7.0, True),
        (Turn(0, 3, 6.0), 18.5, True),
    ],
)
def test_turns(turn: Turn, at: float, speaks: bool) -> None:
    assert turn.speaks(at) is speaks


def test_levels() -> None:
    assert level(np.zeros(FRAME, np.int16)) == SILENT
    assert level(np.full(FRAME, -32768, np.int16)) == 0
    assert level(np.full(FRAME, 3277, np.int16)) == 20
