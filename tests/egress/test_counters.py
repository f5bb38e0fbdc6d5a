"""Totals over egress jobs that start, restart and end."""

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import cast

from sfu.egress.counters import EgressCounters, EgressTotals
from sfu.egress.job import EgressJob


@dataclass
class FakeJob:
    """The attributes of EgressJob that the counters read."""

    id: str
    ticks: int
    dropped: int = 0
    starts: int = 1
    cpu: float = 0.0
    states: list[str] = field(default_factory=list)

    def seen(self) -> EgressJob:
        return cast(
            EgressJob,
            SimpleNamespace(
                id=self.id,
                restarts=self.starts - 1,
                supervisor=SimpleNamespace(starts=self.starts),
                destinations=[SimpleNamespace(state=state) for state in self.states],
                status=SimpleNamespace(ticks=self.ticks, dropped_ticks=self.dropped, cpu=self.cpu)
                if self.ticks
                else None,
            ),
        )


def test_totals_never_decrease() -> None:
    workload = EgressCounters()
    last_word = FakeJob("a", 150, 2, cpu=1.5).seen()
    again = FakeJob("a", 150, 2, starts=2, cpu=1.5).seen()
    again.status = last_word.status  # the worker was replaced; the new one has not reported yet
    looks: list[tuple[list[EgressJob], EgressTotals]] = [
        ([], EgressTotals()),
        ([FakeJob("a", 0).seen()], EgressTotals()),
        ([FakeJob("a", 100, 1, cpu=1.0).seen(), FakeJob("b", 10).seen()], EgressTotals(110, 1, 0, 1.0)),
        ([last_word], EgressTotals(160, 2, 0, 1.5)),
        ([again], EgressTotals(160, 2, 1, 1.5)),
        ([FakeJob("a", 20, 1, starts=2, cpu=0.5).seen()], EgressTotals(180, 3, 1, 2.0)),
        ([], EgressTotals(180, 3, 1, 2.0)),
    ]
    for egress_jobs, total in looks:
        workload.observe(egress_jobs)
        assert workload.total == total
    assert workload.running == 0


def test_destinations_are_counted_by_state() -> None:
    workload = EgressCounters()
    workload.observe([FakeJob("a", 1, states=["live", "failed"]).seen(), FakeJob("b", 1, states=["live"]).seen()])
    assert workload.destinations == {"live": 2, "failed": 1}
    assert workload.running == 2
