"""Marks at fixed moments, and what is measured and traced of them."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from sfu.telemetry import logs
from sfu.telemetry.histogram import Histogram
from sfu.telemetry.join_trace import PATIENCE, Journeys


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    """What a journey binds to the log records ends with its test."""
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
    pictured: bool = False


@dataclass
class Span:
    trace_id: str = "ab" * 16
    children: list[tuple[str, float]] = field(default_factory=list)
    ended: list[tuple[float, bool]] = field(default_factory=list)

    def child(self, name: str, began: float, ended: float, **attributes: str | float | bool) -> None:
        self.children.append((name, round(ended - began, 3)))

    def end(self, ended: float, **attributes: str | float | bool) -> None:
        self.ended.append((ended, bool(attributes["pictured"])))


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
    journeys = Journeys(tracer, clock)
    journey = journeys.begin()
    clock.now += 0.1
    journey.offered()
    clock.now += 0.2
    journey.answered(view)
    journey.published(clock.now - 0.05)
    clock.now += 0.3
    view.established = True
    journeys.tick(clock.now)
    clock.now += 0.4
    view.pictured = True
    journeys.tick(clock.now)
    journeys.tick(clock.now + 1)
    journey.close()
    assert total(journeys.negotiation) == (1, 0.2)
    assert total(journeys.first_picture) == (1, 0.9)
    (span,) = tracer.spans
    assert span.children == [("negotiate", 0.2), ("publish", 0.05), ("connect", 0.3), ("first picture", 0.4)]
    assert [pictured for _, pictured in span.ended] == [True]


@pytest.mark.parametrize("how", ["leaves", "hears only"])
def test_whoever_gets_no_picture_counts_for_nothing(how: str) -> None:
    clock, tracer = Clock(), Tracer()
    journeys = Journeys(tracer, clock)
    journey = journeys.begin()
    journey.offered()
    journey.answered(View(established=True))
    if how == "leaves":
        journey.close()
    else:
        journeys.tick(clock.now + PATIENCE)
        assert tracer.spans[0].ended == []
        journeys.tick(clock.now + PATIENCE + 0.1)
    journeys.tick(clock.now + 60)
    assert total(journeys.first_picture) == (0, 0)
    assert [pictured for _, pictured in tracer.spans[0].ended] == [False]


def test_only_the_first_offer_counts() -> None:
    clock = Clock()
    journeys = Journeys(None, clock)
    journey = journeys.begin()
    journey.answered(View())
    journey.offered()
    clock.now += 1
    journey.offered()
    journey.answered(View())
    clock.now += 1
    journey.answered(View())
    assert total(journeys.negotiation) == (1, 1.0)
    assert journey.span is None
