"""sfu.ingest.timeline and sample_clock: lips over an hour in virtual time, with drift, jumps, stalls and reconnects."""

import itertools
import random
from collections.abc import Iterator

import pytest

from sfu.ingest.sample_clock import RATE, SampleClock
from sfu.ingest.timeline import MAX_SLEW, Timeline

LIPS = 0.040
Message = tuple[float, str, float]
"""Arrival, stream, capture time."""


def messages(seconds: float, *, jitter: float = 0.03, seed: int = 1) -> Iterator[Message]:
    """Pictures at 30 Hz and AAC frames at 44.1 kHz, in the order of one TCP connection."""
    rng = random.Random(seed)
    captured = [(number / 30, "video") for number in range(int(seconds * 30))]
    captured += [(number * 1024 / 44_100, "audio") for number in range(int(seconds * 44_100 / 1024))]
    arrival = 0.0
    for at, stream in sorted(captured):
        arrival = max(arrival, at + 0.1 + rng.random() * jitter)
        yield arrival, stream, at


@pytest.mark.parametrize("drift", [0.0, 200e-6, -200e-6])
def test_lips_stay_in_sync_for_an_hour(drift: float) -> None:
    """The encoder's clock drifts against ours, its sound card against its clock, and its timestamps are milliseconds."""
    timeline, clock = Timeline(), SampleClock()
    rng = random.Random(3)
    worst = late = 0.0
    offset_at = {600.0: 5000.0, 1200.0: -3000.0, 1800.0: -2_000_000.0}
    offset = 0.0
    for arrival, stream, captured in messages(3600, jitter=0.03):
        for at in [at for at in offset_at if captured >= at]:
            offset += offset_at.pop(at)
        stamp = round((captured * (1 + drift) + offset) * 1000) % (1 << 32)
        if stream == "video":
            # What a viewer sees: the same media time for what was captured at the same time.
            video_error = timeline.place("video", stamp, arrival) - captured
        else:
            media = timeline.place("audio", stamp, arrival)
            length = round(1024 / 44_100 * RATE * (1 + rng.uniform(-1, 1) * 1e-6 + 100e-6))
            placement = clock.place(media, length)
            audio_error = placement.position / RATE - captured
            if captured > 2:
                worst = max(worst, abs(audio_error - video_error))
        assert timeline.anchor is not None
        if captured > 60:
            late = max(late, abs(timeline.media_time(arrival) - (captured + video_error)))
    assert timeline.jumps == 3
    assert worst < LIPS
    assert late < 0.5  # the mapping to our clock follows the drift


def test_a_stalled_connection_is_no_jump() -> None:
    timeline = Timeline()
    last = -1.0
    for number in range(300):
        arrival = number / 30 if number < 100 or number > 250 else 250 / 30 + number * 1e-5
        media = timeline.place("video", number * 1000 // 30, arrival)
        assert media > last
        last = media
    assert timeline.jumps == 0
    assert last == pytest.approx(299 / 30, abs=0.01)


def test_a_reconnect_continues_with_the_time_that_passed() -> None:
    timeline = Timeline()
    for number in range(60):
        before = timeline.place("video", number * 33, number * 0.033)
    timeline.restart()
    arrival = 60 * 0.033 + 6.0
    assert timeline.place("audio", 12_345, arrival) == pytest.approx(before + 6.0, abs=0.1)
    assert timeline.place("video", 12_345, arrival) == pytest.approx(before + 6.0, abs=0.1)
    assert timeline.jumps == 0


def test_both_streams_jump_by_the_same_offset_in_either_order() -> None:
    timeline = Timeline()
    now = 0.0
    for number in range(100):
        now = number / 25
        timeline.place("video", number * 40, now)
        timeline.place("audio", number * 40, now)
    # The picture jumps first, one old message of sound follows, then both are on the new clock.
    now += 0.04
    video = timeline.place("video", 900_000, now)
    old = timeline.place("audio", 100 * 40, now)
    new = timeline.place("audio", 900_040, now + 0.04)
    assert timeline.jumps == 1
    assert video == pytest.approx(4.0, abs=0.05)
    assert old == pytest.approx(4.0, abs=0.05)
    assert new - video == pytest.approx(0.04, abs=0.001)


def test_timestamps_wrap() -> None:
    timeline = Timeline()
    start = (1 << 32) - 1000
    media = [timeline.place("video", (start + number * 40) % (1 << 32), number * 0.04) for number in range(100)]
    assert timeline.jumps == 0
    assert media[-1] == pytest.approx(99 * 0.04, abs=0.001)


def test_the_mapping_to_our_clock_changes_slowly() -> None:
    timeline = Timeline()
    anchors = []
    for number in range(3000):
        timeline.place("video", number * 40, number * 0.04 + (0.5 if number > 500 else 0.0))
        assert timeline.anchor is not None
        anchors.append(timeline.anchor)
    steps = [abs(b - a) for a, b in itertools.pairwise(anchors)]
    assert max(steps) <= MAX_SLEW * 0.55
    assert anchors[-1] > 0.05


def test_an_encoder_that_is_too_fast_is_noticed() -> None:
    timeline = Timeline()
    for number in range(200):
        timeline.place("video", number * 40, number * 0.001)
    assert timeline.ahead(0.2) == pytest.approx(7.8, abs=0.3)
    assert timeline.ahead(2.9) == pytest.approx(5.1, abs=0.3)


def test_gaps_and_overlaps_of_sound() -> None:
    clock = SampleClock()
    assert clock.place(1.0, 1024) == (48_000, 1024, False)
    assert clock.place(1.0 + 1024 / RATE, 1024) == (49_024, 1024, False)
    assert clock.place(2.0, 1024) == (96_000, 1024, True)
    assert clock.place(1.5, 1024).length == 0
    assert clock.place(2.0 + 1024 / RATE, 1024) == (97_024, 1024, False)


def test_drift_is_stretched_without_gaps() -> None:
    clock = SampleClock()
    at = 48_000
    for number in range(20_000):
        placement = clock.place(1 + number * 1024 / RATE * 1.001, 1024)
        assert placement.position == at
        assert abs(placement.length - 1024) <= 5
        assert not placement.gap
        at += placement.length
    assert at / RATE == pytest.approx(1 + 20_000 * 1024 / RATE * 1.001, abs=LIPS)
