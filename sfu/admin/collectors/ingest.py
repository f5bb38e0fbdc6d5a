"""Metrics of streams that encoders send."""

from collections.abc import Callable, Iterator

from prometheus_client.core import Metric

from sfu.ingest.ingests import IngestSnapshot
from sfu.ingest.status import INGEST_STATES
from sfu.telemetry.metrics import Collector, counter, counters, gauges


class IngestCollector(Collector):
    def __init__(self, snapshot: Callable[[], IngestSnapshot]) -> None:
        self._snapshot = snapshot

    def collect(self) -> Iterator[Metric]:
        ingests = self._snapshot()
        yield gauges(
            "sfu_ingests",
            "Stream keys by the state of their stream.",
            "state",
            {state: ingests.states.get(state, 0) for state in INGEST_STATES},
        )
        yield counter("sfu_ingest_bytes_total", "Bytes received from encoders.", ingests.received_bytes)
        yield counters(
            "sfu_ingest_refused_total", "Refused connections and streams of encoders.", "reason", ingests.refused
        )
