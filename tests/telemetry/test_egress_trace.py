"""sfu.telemetry.egress_trace: events of a worker's start at fixed times, and the resulting spans."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from sfu.telemetry.egress_trace import EgressTrace


@dataclass
class Tracer:
    """Tracer and span in one."""

    trace_id: str = "ab" * 16
    said: list[tuple[object, ...]] = field(default_factory=list)

    def start(self, name: str, began: float) -> "Tracer":
        self.said.append((name, began))
        return self

    def child(self, name: str, began: float, ended: float, **attributes: str | float | bool) -> None:
        self.said.append((name, began, ended))

    def end(self, ended: float, **attributes: str | float | bool) -> None:
        self.said.append(("end", ended, attributes["first_frame"], attributes["replacement"]))


def clock(*moments: float) -> Iterator[float]:
    return iter(moments)


@pytest.mark.parametrize(
    ("calls", "said"),
    [
        (
            ("started", "started", "first_frame", "first_frame", "close"),
            [("worker", 0.0, 1.0), ("first frame", 1.0, 2.0), ("end", 2.0, True, True)],
        ),
        (("first_frame", "started"), [("first frame", 0.0, 1.0), ("end", 1.0, True, True)]),
        (("started", "close", "close", "first_frame"), [("worker", 0.0, 1.0), ("end", 2.0, False, True)]),
        (("close",), [("end", 1.0, False, True)]),
    ],
    ids=["complete", "frame before start", "ends without a frame", "ends at once"],
)
def test_a_start_is_one_span_with_two_children(calls: tuple[str, ...], said: list[tuple[object, ...]]) -> None:
    tracer = Tracer()
    trace = EgressTrace(tracer, replacement=True, now=clock(0.0, 1.0, 2.0).__next__)
    for name in calls:
        getattr(trace, name)()
    assert tracer.said == [("mixer start", 0.0), *said]
    assert trace.trace_id == "ab" * 16


def test_the_duration_is_measured_without_a_tracer() -> None:
    trace = EgressTrace(None, now=clock(10.0, 10.5, 11.25).__next__)
    trace.started()
    assert trace.first_frame() == 1.25
    assert trace.first_frame() is None
    assert trace.trace_id == ""
