"""The picture clock in virtual time."""

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from sfu.egress.video_loop import VideoLoop
from sfu.mixer.frame_clock import REACH, FrameClock

PERIOD = 1 / 30


@dataclass
class VirtualLoop:
    """Runs a VideoLoop until `count` ticks. `costs`: seconds that single ticks take. Records when things happen."""

    count: int
    costs: dict[int, float] = field(default_factory=dict)
    waited: Callable[[float], float | None] = lambda now: None
    now: float = 99.0
    lead: float = 0.004
    decoded: list[float] = field(default_factory=list)
    ticks: list[tuple[float, int]] = field(default_factory=list)

    def run(self) -> VideoLoop:
        clock = FrameClock(100.0)
        loop = self.loop = VideoLoop(clock, self, self.tick, self.waited, now=lambda: self.now, sleep=self.sleep)
        loop.run()
        return loop

    def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.now += seconds

    def decode_waiting(self) -> None:
        self.decoded.append(self.now)

    def tick(self, now: float, number: int) -> None:
        self.ticks.append((now, number))
        self.now += self.costs.get(len(self.ticks), 0.0)
        if len(self.ticks) == self.count:
            self.loop.stop()


def test_ticks_are_even_and_decoders_wake_before_each() -> None:
    virtual = VirtualLoop(4)
    loop = virtual.run()
    assert [number for _, number in virtual.ticks] == [0, 1, 2, 3]
    assert [at for at, _ in virtual.ticks] == pytest.approx([100 + number * PERIOD for number in range(4)])
    assert virtual.decoded == pytest.approx([at - 0.004 for at, _ in virtual.ticks])
    assert (loop.ticks, loop.dropped) == (4, 0)


@pytest.mark.parametrize(
    ("cost", "numbers", "dropped"),
    [(0.5 * PERIOD, [0, 1, 2, 3], 0), (1.5 * PERIOD, [0, 1, 2, 3], 0), (3.5 * PERIOD, [0, 3, 4, 5], 2)],
)
def test_a_late_thread_drops_ticks(cost: float, numbers: list[int], dropped: int) -> None:
    virtual = VirtualLoop(4, costs={1: cost})
    loop = virtual.run()
    assert [number for _, number in virtual.ticks] == numbers
    assert loop.dropped == dropped
    assert virtual.ticks[-1][0] == pytest.approx(100 + numbers[-1] * PERIOD), "the clock is even again"


def test_the_clock_follows_the_leading_picture() -> None:
    virtual = VirtualLoop(60, waited=lambda now: 0.015)
    virtual.run()
    shift = virtual.ticks[-1][0] - (100 + 59 * PERIOD)
    assert -REACH - 1e-9 <= shift < -0.01


def test_it_can_be_stopped_before_it_runs() -> None:
    virtual = VirtualLoop(1)
    loop = VideoLoop(FrameClock(0.0), virtual, virtual.tick, virtual.waited)
    loop.stop()
    loop.run()
    assert virtual.ticks == []
