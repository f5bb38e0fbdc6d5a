"""What all programmes of a server have done since its start, whichever of them is over: counters that never fall.

A worker counts for itself and begins anew when it is replaced; here its counts are added up.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from sfu.egress.job import EgressJob
from sfu.egress.protocol import Status


@dataclass(frozen=True, slots=True)
class EgressTotals:
    """Totals."""

    ticks: int = 0
    dropped: int = 0
    restarts: int = 0
    cpu: float = 0.0


class EgressCounters:
    """`observe` now and then: what a worker did between the last look and its end is not seen."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[Status | None, int]] = {}
        """Of each programme its worker's last word, and how often it had to be replaced."""
        self.total = EgressTotals()
        self.destinations: Counter[str] = Counter()
        self.running = 0

    def observe(self, egress_jobs: Iterable[EgressJob]) -> None:
        seen: dict[str, tuple[Status | None, int]] = {}
        destinations: Counter[str] = Counter()
        total = self.total
        for each in egress_jobs:
            destinations.update(one.state for one in each.destinations)
            before, restarts = self._seen.get(each.id, (None, 0))
            now = each.status
            ticks = dropped = 0
            cpu = 0.0
            if now is not None and now is not before:
                # One that has done less than the last is another worker, which began anew.
                goes_on = before is not None and now.ticks >= before.ticks
                ticks = now.ticks - (before.ticks if before and goes_on else 0)
                dropped = now.dropped_ticks - (before.dropped_ticks if before and goes_on else 0)
                cpu = now.cpu - (before.cpu if before and goes_on else 0.0)
            total = EgressTotals(
                total.ticks + ticks,
                total.dropped + max(0, dropped),
                total.restarts + each.restarts - restarts,
                total.cpu + max(0.0, cpu),
            )
            seen[each.id] = (now, each.restarts)
        self._seen, self.total, self.destinations, self.running = seen, total, destinations, len(seen)
