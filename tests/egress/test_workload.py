"""Totals over programmes that come, die, are replaced and go."""

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import cast

from sfu.egress.job import Production
from sfu.egress.workload import Work, Workload


@dataclass
class Programme:
    """What is looked at of a Production."""

    id: str
    ticks: int
    dropped: int = 0
    starts: int = 1
    cpu: float = 0.0
    states: list[str] = field(default_factory=list)

    def seen(self) -> Production:
        return cast(
            Production,
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


def test_totals_never_fall() -> None:
    workload = Workload()
    last_word = Programme("a", 150, 2, cpu=1.5).seen()
    again = Programme("a", 150, 2, starts=2, cpu=1.5).seen()
    again.status = last_word.status  # its worker died; the next has not said anything yet
    looks: list[tuple[list[Production], Work]] = [
        ([], Work()),
        ([Programme("a", 0).seen()], Work()),
        ([Programme("a", 100, 1, cpu=1.0).seen(), Programme("b", 10).seen()], Work(110, 1, 0, 1.0)),
        ([last_word], Work(160, 2, 0, 1.5)),
        ([again], Work(160, 2, 1, 1.5)),
        ([Programme("a", 20, 1, starts=2, cpu=0.5).seen()], Work(180, 3, 1, 2.0)),
        ([], Work(180, 3, 1, 2.0)),
    ]
    for productions, total in looks:
        workload.observe(productions)
        assert workload.total == total
    assert workload.running == 0


def test_destinations_are_counted_by_state() -> None:
    workload = Workload()
    workload.observe([Programme("a", 1, states=["live", "failed"]).seen(), Programme("b", 1, states=["live"]).seen()])
    assert workload.destinations == {"live": 2, "failed": 1}
    assert workload.running == 2
