"""sfu.mixer.limiter: no sample exceeds the ceiling, the gain has no steps, quiet sound is unchanged."""

import numpy as np
import pytest

from sfu.mixer.limiter import BLOCK, CEILING, Limiter


def run(sound: np.ndarray) -> np.ndarray:
    limiter = Limiter()
    return np.concatenate([limiter.process(sound[at : at + 960]) for at in range(0, len(sound), 960)])


def test_quiet_sound_passes_unchanged_one_block_later() -> None:
    sound = np.random.default_rng(1).uniform(-0.8, 0.8, (9600, 2)).astype(np.float32)
    out = run(sound)
    assert np.array_equal(out[BLOCK:], sound[:-BLOCK])
    assert not out[:BLOCK].any()


@pytest.mark.parametrize("seed", range(5))
def test_the_ceiling_holds_for_anything(seed: int) -> None:
    rng = np.random.default_rng(seed)
    sound = rng.normal(0, 1, (48_000, 2)) * np.repeat(rng.choice([0.01, 0.5, 1, 4], 100), 480)[:, None]
    assert np.abs(run(sound.astype(np.float32))).max() <= CEILING + 1e-6


def test_the_gain_falls_without_a_step_and_recovers() -> None:
    wave = np.sin(2 * np.pi * 200 * np.arange(96_000) / 48_000)
    level = np.where((np.arange(96_000) > 24_000) & (np.arange(96_000) < 48_000), 3.0, 0.5)
    sound = np.stack([wave * level] * 2, axis=1).astype(np.float32)
    out = run(sound)
    assert np.abs(np.diff(out[:23_000, 0])).max() < 0.5 * 2 * np.pi * 200 / 48_000 * 1.05
    inside = out[24_300:47_000, 0]
    assert np.abs(np.diff(inside)).max() < 3 * 2 * np.pi * 200 / 48_000
    assert 0.8 < np.abs(inside).max() <= CEILING + 1e-6
    assert np.array_equal(out[70_000 + BLOCK :], sound[70_000:-BLOCK])
