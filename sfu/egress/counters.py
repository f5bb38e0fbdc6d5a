"""Counters over all egress jobs since the server started. They never decrease.

Each worker counts from zero, and a replacement starts again at zero. This module adds the counts up.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from sfu.egress.job import EgressJob
from sfu.egress.protocol import Status


@dataclass(frozen=True, slots=True)
class EgressTotals:
    """Sums over all workers, running and ended."""

    ticks: int = 0
    dropped: int = 0
    restarts: int = 0
    cpu: float = 0.0


class EgressCounters:
    """Accumulates totals. Call `observe` regularly: counts between the last call and the end of a worker are lost."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[Status | None, int]] = {}
        """Last status and number of restarts per egress id."""
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
                # A lower count means that a new worker has replaced the old one.
                same_worker = before is not None and now.ticks >= before.ticks
                ticks = now.ticks - (before.ticks if before and same_worker else 0)
                dropped = now.dropped_ticks - (before.dropped_ticks if before and same_worker else 0)
                cpu = now.cpu - (before.cpu if before and same_worker else 0.0)
            total = EgressTotals(
                total.ticks + ticks,
                total.dropped + max(0, dropped),
                total.restarts + each.restarts - restarts,
                total.cpu + max(0.0, cpu),
            )
            seen[each.id] = (now, each.restarts)
        self._seen, self.total, self.destinations, self.running = seen, total, destinations, len(seen)
