"""sfu.telemetry.join_trace: events at fixed times, and the resulting measurements and spans."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from sfu.telemetry import logs
from sfu.telemetry.histogram import Histogram
from sfu.telemetry.join_trace import FIRST_PICTURE_TIMEOUT, JoinTraces


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    """Removes the log fields that a trace binds after each test."""
    with logs.bound():
        yield


@dataclass
class Clock:
    now: float = 100.0

    def __call__(self) -> float:
        return self.now


@dataclass
class View:
    established: bool = False
    sending_video: bool = False


@dataclass
class Span:
    trace_id: str = "ab" * 16
    children: list[tuple[str, float]] = field(default_factory=list)
    ended: list[tuple[float, bool]] = field(default_factory=list)

    def child(self, name: str, began: float, ended: float, **attributes: str | float | bool) -> None:
        self.children.append((name, round(ended - began, 3)))

    def end(self, ended: float, **attributes: str | float | bool) -> None:
        self.ended.append((ended, bool(attributes["sending_video"])))


class Tracer:
    def __init__(self) -> None:
        self.spans: list[Span] = []

    def start(self, name: str, began: float) -> Span:
        assert name == "join"
        self.spans.append(Span())
        return self.spans[-1]


def total(histogram: Histogram) -> tuple[int, float]:
    seen = histogram.distribution()
    return sum(seen.counts), round(seen.total, 3)


def test_from_the_join_to_the_first_picture() -> None:
    clock, tracer, view = Clock(), Tracer(), View()
    join_traces = JoinTraces(tracer, clock)
    join_trace = join_traces.begin()
    clock.now += 0.1
    join_trace.offered()
    clock.now += 0.2
    join_trace.answered(view)
    join_trace.published(clock.now - 0.05)
    clock.now += 0.3
    view.established = True
    join_traces.tick(clock.now)
    clock.now += 0.4
    view.sending_video = True
    join_traces.tick(clock.now)
    join_traces.tick(clock.now + 1)
    join_trace.close()
    assert total(join_traces.negotiation) == (1, 0.2)
    assert total(join_traces.first_picture) == (1, 0.9)
    (span,) = tracer.spans
    assert span.children == [("negotiate", 0.2), ("publish", 0.05), ("connect", 0.3), ("first picture", 0.4)]
    assert [sending_video for _, sending_video in span.ended] == [True]


@pytest.mark.parametrize("how", ["leaves", "hears only"])
def test_joins_without_a_picture_are_not_measured(how: str) -> None:
    clock, tracer = Clock(), Tracer()
    join_traces = JoinTraces(tracer, clock)
    join_trace = join_traces.begin()
    join_trace.offered()
    join_trace.answered(View(established=True))
    if how == "leaves":
        join_trace.close()
    else:
        join_traces.tick(clock.now + FIRST_PICTURE_TIMEOUT)
        assert tracer.spans[0].ended == []
        join_traces.tick(clock.now + FIRST_PICTURE_TIMEOUT + 0.1)
    join_traces.tick(clock.now + 60)
    assert total(join_traces.first_picture) == (0, 0)
    assert [sending_video for _, sending_video in tracer.spans[0].ended] == [False]


def test_only_the_first_offer_counts() -> None:
    clock = Clock()
    join_traces = JoinTraces(None, clock)
    join_trace = join_traces.begin()
    join_trace.answered(View())
    join_trace.offered()
    clock.now += 1
    join_trace.offered()
    join_trace.answered(View())
    clock.now += 1
    join_trace.answered(View())
    assert total(join_traces.negotiation) == (1, 1.0)
    assert join_trace.span is None
