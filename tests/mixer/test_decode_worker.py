"""sfu.mixer.decode_worker: frames wait for a tick or for `PATIENCE` and come out in order; the lead follows the rounds."""

import threading
from collections.abc import Iterator

import pytest

from sfu.mixer.decode_worker import LEAST_LEAD, MOST_LEAD, PATIENCE, ROUND, Lane
from sfu.rtp.frames import CodedFrame


class Time:
    now = 100.0

    def __call__(self) -> float:
        return self.now


class Source:
    """Takes `takes` seconds for every frame."""

    def __init__(self, time: Time, takes: float = 0.0) -> None:
        self._time, self._takes = time, takes
        self.cost = 0.0
        self.seen: list[tuple[int, float]] = []
        self.fails = False

    def decode(self, frame: CodedFrame, begun: float, lead: float) -> None:
        self._time.now += self._takes
        self.seen.append((frame.timestamp, begun))
        if self.fails:
            raise RuntimeError("a fault of ours")


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def lane(time: Time) -> Iterator[Lane]:
    found = Lane("test", time)
    yield found
    found.close()


def frame(number: int, arrival: float) -> CodedFrame:
    return CodedFrame(b"", number, True, arrival, 0)


def finished(lane: Lane) -> None:
    """What the thread was woken for is done."""
    done = threading.Event()
    lane.submit(done.set)
    assert done.wait(5)


def test_frames_wait_for_the_tick(lane: Lane, time: Time) -> None:
    source = Source(time)
    lane.add(source, frame(1, time.now))
    lane.add(source, frame(2, time.now + PATIENCE / 2))
    finished(lane)
    assert source.seen == []
    time.now += 0.007
    lane.hurry()
    finished(lane)
    assert source.seen == [(1, time.now), (2, time.now)]


def test_one_that_has_waited_for_long_takes_the_others_along(lane: Lane, time: Time) -> None:
    first, second = Source(time), Source(time)
    for number in range(4):
        lane.add((first, second)[number % 2], frame(number, time.now + number * PATIENCE / 2.9))
    finished(lane)
    assert [number for number, _ in first.seen] == [0, 2]
    assert [number for number, _ in second.seen] == [1, 3]


def test_what_is_worth_a_round_does_not_wait(lane: Lane, time: Time) -> None:
    small, large = Source(time), Source(time)
    small.cost, large.cost = ROUND / 4, ROUND * 0.9
    for number in range(3):
        lane.add(small, frame(number, time.now))
    finished(lane)
    assert small.seen == []
    lane.add(large, frame(3, time.now))
    finished(lane)
    assert len(small.seen) == 3
    assert len(large.seen) == 1
    lane.add(large, frame(4, time.now))
    finished(lane)
    assert len(large.seen) == 1


def test_a_thread_is_woken_once_for_all_that_waits(lane: Lane, time: Time) -> None:
    held = threading.Event()
    lane.submit(held.wait)
    source = Source(time)
    lane.add(source, frame(1, time.now))
    for _ in range(5):
        lane.hurry()
    assert lane._jobs.qsize() <= 2
    held.set()
    finished(lane)
    assert len(source.seen) == 1


@pytest.mark.parametrize(("takes", "lead"), [(0.0, LEAST_LEAD), (0.002, 0.004), (0.1, MOST_LEAD)])
def test_the_lead_is_what_rounds_take(lane: Lane, time: Time, takes: float, lead: float) -> None:
    source = Source(time, takes)
    for number in range(64):
        lane.add(source, frame(2 * number, time.now))
        lane.add(source, frame(2 * number + 1, time.now))
        lane.hurry()
        finished(lane)
    assert lane.lead == pytest.approx(lead)


def test_a_fault_costs_one_picture(lane: Lane, time: Time, caplog: pytest.LogCaptureFixture) -> None:
    bad, good = Source(time), Source(time)
    bad.fails = True
    lane.add(bad, frame(1, time.now))
    lane.add(good, frame(2, time.now))
    lane.settle()
    assert len(good.seen) == 1
    assert "a picture was lost" in caplog.text
