"""Timestamp repair: distinguishes media clocks that stopped or jumped from network delay."""

import random

import pytest

from sfu.rtp.frames import CodedFrame
from sfu.rtp.timestamp_repair import HOLD_LIMIT, STEP, TimestampRepair

RATE = 48_000
NTP = 1 << 32
WALL = 3.9e9


class Stream:
    """Frames of 20 ms over a path of 30 ms. `offset`: seconds by which the media clock differs from real time."""

    def __init__(self, jitter: float = 0.0) -> None:
        self.steps = TimestampRepair(RATE)
        self.out: list[CodedFrame] = []
        self.offset = 0.0
        self.now = 100.0
        self.jitter = jitter
        self.dice = random.Random(1)

    def timestamp(self, at: float) -> int:
        return round((at + self.offset) * RATE)

    def send(self, seconds: float) -> None:
        for _ in range(round(seconds * 50)):
            self.arrive(self.now, self.now + 0.03 + (self.dice.expovariate(1 / self.jitter) if self.jitter else 0))
            self.now += 0.02

    def arrive(self, captured: float, arrival: float) -> None:
        self.out += self.steps.receive(CodedFrame(b"", self.timestamp(captured), True, arrival, 0))

    def stall(self, seconds: float) -> None:
        """A pause without a timestamp gap: the media clock stands still."""
        self.now += seconds
        self.offset -= seconds

    def report(self, offset: float | None = None) -> float:
        """Returns the wall-clock time that the repaired report assigns to media time 0."""
        rtp = round((self.now + (self.offset if offset is None else offset)) * RATE)
        ntp = int((WALL + self.now) * NTP)
        repaired = self.steps.report(ntp, rtp & 0xFFFF_FFFF, self.now)
        return ntp / NTP - repaired / RATE

    def transits(self) -> list[float]:
        return [frame.arrival - frame.timestamp / RATE for frame in self.out]


@pytest.mark.parametrize("seconds", [0.1, 0.3, 1.0, 5.0, 3600.0, -0.1, -0.7, -5.0, -3600.0])
@pytest.mark.parametrize("jitter", [0.0, 0.005])
def test_a_stopped_or_jumping_clock_continues_evenly(seconds: float, jitter: float) -> None:
    stream = Stream(jitter)
    stream.send(4)
    if seconds > 0:
        stream.stall(seconds)
    else:
        stream.offset -= seconds
    stream.send(4)
    assert stream.steps.steps == 1
    assert len(stream.out) == 400
    assert max(stream.transits()) - min(stream.transits()) < 0.005 + 10 * jitter


def test_a_clock_that_jumps_back_without_a_pause_continues_evenly() -> None:
    stream = Stream()
    stream.send(4)
    stream.offset -= 2.0
    stream.send(4)
    assert max(stream.transits()) - min(stream.transits()) < 0.005


@pytest.mark.parametrize("held", [0.1, 0.5, 2.0])
def test_network_delay_is_not_a_step(held: float) -> None:
    stream = Stream()
    stream.send(4)
    begin = stream.now
    while stream.now < begin + held:
        stream.arrive(stream.now, begin + held + 0.03 + (stream.now - begin) / 50)
        stream.now += 0.02
    stream.send(4)
    assert stream.steps.steps == 0
    assert [frame.timestamp for frame in stream.out] == sorted(frame.timestamp for frame in stream.out)
    assert stream.out[-1].timestamp == stream.timestamp(stream.now - 0.02)


def test_jitter_is_not_a_step() -> None:
    stream = Stream(0.025)
    stream.send(120)
    assert stream.steps.steps == 0
    assert len(stream.out) == 6000


def test_dtx_is_not_a_step() -> None:
    stream = Stream()
    for _ in range(20):
        stream.send(0.5)
        stream.now += 0.4
    assert stream.steps.steps == 0


def test_the_timer_releases_a_single_late_frame() -> None:
    stream = Stream()
    stream.send(1)
    stream.arrive(stream.now, stream.now + 0.2)
    assert len(stream.out) == 50
    late = stream.now + 0.2
    assert stream.steps.handle_timer(late + 0.02) == []
    assert len(stream.steps.handle_timer(late + HOLD_LIMIT)) == 1
    assert stream.steps.handle_timer(late + 9) == []


def test_held_frames_are_bounded() -> None:
    stream = Stream()
    stream.send(1)
    for _ in range(200):
        stream.arrive(stream.now, stream.now + 2 * STEP)
    assert len(stream.out) > 150


@pytest.mark.parametrize("seconds", [0.1, 0.5, 1.0, 5.0])
def test_reports_before_and_after_a_step_give_the_same_mapping(seconds: float) -> None:
    stream = Stream()
    assert stream.steps.report(1, 77, 0.0) == 77  # nothing is known before the first frame
    stream.send(2)
    before = stream.report()
    stream.stall(seconds)
    stream.send(1)
    stale = stream.report(offset=0.0)  # extrapolated by the server from the report before the step
    stream.send(3)
    assert stale == pytest.approx(before, abs=1e-4)
    assert stream.report() == pytest.approx(before, abs=0.005)
    stream.stall(seconds)
    stream.send(1)
    assert stream.report(offset=-seconds) == pytest.approx(before, abs=0.005)
    assert stream.report() == pytest.approx(before, abs=0.005)


def test_a_report_long_after_a_step_is_accepted() -> None:
    """The path became slower at once, which first looked like a clock step. Later reports restore lip sync."""
    stream = Stream()
    stream.send(3)
    before = stream.report()
    for _ in range(1000):
        stream.arrive(stream.now, stream.now + 0.18)
        stream.now += 0.02
    assert stream.steps.steps == 1
    assert stream.report() == pytest.approx(before - 0.15, abs=0.005)
