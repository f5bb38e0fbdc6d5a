"""Metrics of egress jobs and recordings."""

from collections.abc import Callable, Iterable, Iterator, Mapping

from prometheus_client.core import Metric

from sfu.egress.counters import EgressCounters
from sfu.egress.job import EgressJob
from sfu.egress.jobs import RECORDING_STATES
from sfu.telemetry.metrics import Collector, counter, gauge, gauges

STATES = ("connecting", "live", "waiting", "failed")
"""States of RTMP destinations."""


class EgressCollector(Collector):
    """`jobs`: the running jobs. `recordings`: number of active recordings by state."""

    def __init__(self, jobs: Callable[[], Iterable[EgressJob]], recordings: Callable[[], Mapping[str, int]]) -> None:
        self._jobs = jobs
        self._recordings = recordings
        self._counters = EgressCounters()

    def sample(self) -> None:
        self._counters.observe(self._jobs())

    def collect(self) -> Iterator[Metric]:
        total, recordings = self._counters.total, self._recordings()
        destinations = self._counters.destinations
        yield gauge("sfu_egress_jobs", "Running composite egress jobs.", self._counters.running)
        yield counter("sfu_egress_frames_total", "Frames composited.", total.ticks)
        yield counter(
            "sfu_egress_frames_dropped_total", "Frames dropped because an egress worker was too slow.", total.dropped
        )
        yield counter("sfu_egress_worker_restarts_total", "Egress workers that were replaced.", total.restarts)
        yield counter("sfu_egress_cpu_seconds_total", "CPU time of the egress workers.", total.cpu)
        yield gauges(
            "sfu_egress_destinations",
            "Push destinations of egress jobs.",
            "state",
            {state: destinations[state] for state in STATES},
        )
        yield gauges(
            "sfu_recordings",
            "Active recordings; an interrupted one cannot be written.",
            "state",
            {state: recordings.get(state, 0) for state in RECORDING_STATES},
        )
