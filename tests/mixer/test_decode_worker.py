"""sfu.mixer.decode_worker: frames wait for a tick, `MAX_WAIT` or a full batch, and are decoded in order."""

import threading
from collections.abc import Iterator

import pytest

from sfu.mixer.decode_worker import BATCH_COST, MAX_LEAD, MAX_WAIT, MIN_LEAD, DecodeWorker
from sfu.rtp.frames import CodedFrame


class Time:
    now = 100.0

    def __call__(self) -> float:
        return self.now


class Source:
    """Spends `takes` seconds on every frame."""

    def __init__(self, time: Time, takes: float = 0.0) -> None:
        self._time, self._takes = time, takes
        self.cost = 0.0
        self.seen: list[tuple[int, float]] = []
        self.fails = False

    def decode(self, frame: CodedFrame, begun: float, lead: float) -> None:
        self._time.now += self._takes
        self.seen.append((frame.timestamp, begun))
        if self.fails:
            raise RuntimeError("a bug")


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def worker(time: Time) -> Iterator[DecodeWorker]:
    found = DecodeWorker("test", time)
    yield found
    found.close()


def frame(number: int, arrival: float) -> CodedFrame:
    return CodedFrame(b"", number, True, arrival, 0)


def finished(worker: DecodeWorker) -> None:
    """Waits until the thread has finished its jobs."""
    done = threading.Event()
    worker.submit(done.set)
    assert done.wait(5)


def test_frames_wait_for_the_tick(worker: DecodeWorker, time: Time) -> None:
    source = Source(time)
    worker.add(source, frame(1, time.now))
    worker.add(source, frame(2, time.now + MAX_WAIT / 2))
    finished(worker)
    assert source.seen == []
    time.now += 0.007
    worker.decode_waiting()
    finished(worker)
    assert source.seen == [(1, time.now), (2, time.now)]


def test_a_frame_that_waited_too_long_starts_a_batch(worker: DecodeWorker, time: Time) -> None:
    first, second = Source(time), Source(time)
    for number in range(4):
        worker.add((first, second)[number % 2], frame(number, time.now + number * MAX_WAIT / 2.9))
    finished(worker)
    assert [number for number, _ in first.seen] == [0, 2]
    assert [number for number, _ in second.seen] == [1, 3]


def test_frames_worth_a_batch_do_not_wait(worker: DecodeWorker, time: Time) -> None:
    small, large = Source(time), Source(time)
    small.cost, large.cost = BATCH_COST / 4, BATCH_COST * 0.9
    for number in range(3):
        worker.add(small, frame(number, time.now))
    finished(worker)
    assert small.seen == []
    worker.add(large, frame(3, time.now))
    finished(worker)
    assert len(small.seen) == 3
    assert len(large.seen) == 1
    worker.add(large, frame(4, time.now))
    finished(worker)
    assert len(large.seen) == 1


def test_a_thread_is_woken_once_per_batch(worker: DecodeWorker, time: Time) -> None:
    held = threading.Event()
    worker.submit(held.wait)
    source = Source(time)
    worker.add(source, frame(1, time.now))
    for _ in range(5):
        worker.decode_waiting()
    assert worker._jobs.qsize() <= 2
    held.set()
    finished(worker)
    assert len(source.seen) == 1


@pytest.mark.parametrize(("takes", "lead"), [(0.0, MIN_LEAD), (0.002, 0.004), (0.1, MAX_LEAD)])
def test_the_lead_follows_the_duration_of_batches(worker: DecodeWorker, time: Time, takes: float, lead: float) -> None:
    source = Source(time, takes)
    for number in range(64):
        worker.add(source, frame(2 * number, time.now))
        worker.add(source, frame(2 * number + 1, time.now))
        worker.decode_waiting()
        finished(worker)
    assert worker.lead == pytest.approx(lead)


def test_an_exception_loses_one_picture(worker: DecodeWorker, time: Time, caplog: pytest.LogCaptureFixture) -> None:
    bad, good = Source(time), Source(time)
    bad.fails = True
    worker.add(bad, frame(1, time.now))
    worker.add(good, frame(2, time.now))
    worker.wait_idle()
    assert len(good.seen) == 1
    assert "frame decode failed" in caplog.text
