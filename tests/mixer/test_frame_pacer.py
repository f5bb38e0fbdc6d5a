"""sfu.mixer.frame_pacer: turns arrivals with jitter into an even sequence of pictures with little delay and loss."""

import random
from statistics import mean

import pytest

from sfu.mixer.frame_clock import TARGET
from sfu.mixer.frame_pacer import LEAD, FramePacer

TICK = 1 / 30


def play(
    *, phase: float, jitter: float, count: int = 1200, fps: float = 30.0, drift: float = 0.0, seed: int = 1
) -> tuple[FramePacer[int], list[float], list[int]]:
    """Returns the pacer, the delay of each shown picture since its last packet, and the shown pictures."""
    dice = random.Random(seed)
    pacer: FramePacer[int] = FramePacer()
    arrivals: list[float] = []
    for index in range(count):
        arrivals.append(max([*arrivals[-1:], index / fps * (1 + drift) + dice.uniform(0, jitter)]))
    delays, shown, received, tick = [], [], 0, 1
    while received < count:
        now = tick * TICK + phase + abs(dice.gauss(0, 0.0005))
        while received < count and arrivals[received] + 0.001 <= now:
            pacer.push(100 + received / fps, arrivals[received] + 0.001, received)
            received += 1
        found = pacer.take(now)
        if found is not None:
            shown.append(found)
            delays.append(now - arrivals[found])
        tick += 1
    return pacer, delays, shown


@pytest.mark.parametrize("phase", [0.0, 0.004, 0.008, 0.012, 0.016, 0.02, 0.024, 0.028, 0.032])
@pytest.mark.parametrize("jitter", [0.0, 0.01, 0.025, 0.06])
def test_jitter_loses_almost_no_pictures(phase: float, jitter: float) -> None:
    pacer, _, shown = play(phase=phase, jitter=jitter)
    assert shown == sorted(shown)
    assert pacer.shown == len(shown)
    assert len(shown) >= 0.985 * 1200


def test_the_delay_is_no_larger_than_jitter_and_tick_require() -> None:
    spread = [mean(play(phase=step / 1000, jitter=0.025)[1][200:]) for step in range(0, 33, 4)]
    assert mean(spread) < 0.036
    even = [mean(play(phase=step / 1000, jitter=0.0)[1][50:]) for step in range(0, 33, 4)]
    assert mean(even) < 0.025
    assert max(even) < 0.037


@pytest.mark.parametrize("drift", [-0.0003, 0.0003])
def test_clock_drift_drops_single_frames(drift: float) -> None:
    _, delays, shown = play(phase=0.01, jitter=0.005, drift=drift, count=3000)
    assert len(shown) > 0.99 * 3000
    assert max(delays[300:]) < 0.1


@pytest.mark.parametrize(("fps", "expected"), [(15, 15), (24, 24), (10, 10), (60, 30)])
def test_other_frame_rates(fps: float, expected: float) -> None:
    _, delays, shown = play(phase=0.01, jitter=0.01, fps=fps, count=600)
    assert len(shown) / (600 / fps) == pytest.approx(expected, rel=0.03)
    assert mean(delays) < 0.06


def test_a_pause_does_not_stay_as_delay() -> None:
    pacer: FramePacer[int] = FramePacer()
    for index in range(60):
        late = 0.5 if 20 <= index < 22 else 0.0
        pacer.push(index * TICK, index * TICK + late, index)
    assert pacer.delay <= 0.2
    seen = [pacer.take(tick * TICK + 0.21) for tick in range(60)]
    assert seen[-1] is not None


def test_a_restarted_clock_is_followed() -> None:
    pacer: FramePacer[str] = FramePacer()
    pacer.push(1000.0, 1.0, "before")
    pacer.push(5.0, 1.05, "after")
    assert pacer.take(1.06) == "after"
    assert pacer.take(1.1) is None


def test_pictures_that_stay_late_reset_the_delay() -> None:
    """The path becomes half a second slower; pictures still wait for their sound afterwards."""
    pacer: FramePacer[int] = FramePacer()
    pacer.due_of_sound = lambda media: media + (0.15 if media < 60 * TICK else 0.65)
    shown = []
    for index in range(120):
        late = 0.01 if index < 60 else 0.51
        pacer.push(index * TICK, index * TICK + late, index)
        if (found := pacer.take(index * TICK + late)) is not None:
            shown.append((found, index * TICK + late - found * TICK))
    assert all(abs(delay - 0.15) < TICK + LEAD for index, delay in shown if 10 < index < 50)
    assert all(abs(delay - 0.65) < TICK + LEAD for index, delay in shown if index > 75)


def test_one_late_picture_does_not_delay_a_locked_tick_permanently() -> None:
    pacer: FramePacer[int] = FramePacer()
    shown = []
    for index in range(250):
        if index == 201:
            pacer.push(200 * TICK, 201 * TICK, 200)
        if index != 200:
            pacer.push(index * TICK, index * TICK, index)
        shown.append(pacer.take(index * TICK + TARGET))
    assert shown[199:202] == [199, None, 200]
    assert shown[210:] == list(range(210, 250))


def test_the_buffer_is_bounded() -> None:
    pacer: FramePacer[int] = FramePacer()
    for index in range(100):
        pacer.push(index * TICK, 5.0 + index * TICK, index)
    assert pacer.dropped == 84


def test_pictures_wait_for_their_sound() -> None:
    pacer: FramePacer[str] = FramePacer()
    pacer.due_of_sound = lambda media: media + 0.1 if media < 2 else None
    pacer.push(1.0, 1.01, "picture")
    assert pacer.take(1.1 - LEAD - 0.005) is None
    assert pacer.waited(1.1) is None
    assert pacer.take(1.1 - LEAD) == "picture"
    assert pacer.waited(1.1) == pytest.approx(LEAD)
    pacer.push(3.0, 3.01, "without")
    assert pacer.take(3.012) == "without"
    pacer.due_of_sound = lambda media: media + 0.005
    pacer.push(3.5, 3.51, "a picture later than its sound is shown at once")
    pacer.push(3.6, 3.61, "on time")
    assert pacer.take(3.515) is not None
    assert pacer.take(3.611) is not None
    pacer.due_of_sound = lambda media: media + 9.0
    pacer.push(4.0, 4.01, "an implausible sound time is ignored")
    assert pacer.take(4.22) is not None
