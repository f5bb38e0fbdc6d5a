"""Metrics of this node's part in a cluster."""

from collections.abc import Callable, Iterator

from prometheus_client.core import GaugeMetricFamily, Metric

from sfu.telemetry.metrics import Collector


class ClusterCollector(Collector):
    """Without a cluster, `unsaved_rooms` returns None and it yields nothing."""

    def __init__(self, unsaved_rooms: Callable[[], int | None]) -> None:
        self._unsaved_rooms = unsaved_rooms

    def collect(self) -> Iterator[Metric]:
        unsaved = self._unsaved_rooms()
        if unsaved is None:
            return
        yield GaugeMetricFamily(
            "sfu_cluster_unsaved_rooms",
            "Rooms with changes that the directory does not have yet: another node would restore them without these.",
            unsaved,
        )
