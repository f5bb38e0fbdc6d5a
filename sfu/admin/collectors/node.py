"""Metrics of the node itself: version, drain, capacity and refused joins."""

from collections.abc import Iterator, Mapping
from typing import Protocol

from prometheus_client.core import Metric

from sfu import __version__
from sfu.resources.memory import MemoryUsage
from sfu.telemetry.metrics import Collector, counters, gauge, gauges


class NodeState(Protocol):
    """A node, as far as its metrics need it."""

    started_at: float
    "Unix time."
    draining: bool

    @property
    def memory(self) -> MemoryUsage: ...

    @property
    def joins_refused(self) -> Mapping[str, int]:
        """Rejected joins by reason: capacity, draining."""

    def capacity(self) -> Mapping[str, float]:
        """Usage per resource, 0 to 1."""

    def capacity_used(self) -> float:
        """Usage of the fullest resource, 0 to 1."""


class NodeCollector(Collector):
    def __init__(self, node: NodeState) -> None:
        self._node = node

    def collect(self) -> Iterator[Metric]:
        node = self._node
        yield gauges("sfu_node_info", "The running version; always 1.", "version", {__version__: 1})
        yield gauge("sfu_node_start_time_seconds", "Start time of the server in Unix time.", node.started_at)
        yield gauge("sfu_node_draining", "1 while the server is draining and rejects new rooms.", node.draining)
        yield gauge("sfu_capacity_used_ratio", "Usage of the fullest resource, 0 to 1.", node.capacity_used())
        yield gauges("sfu_capacity_ratio", "Usage of each resource, 0 to 1.", "resource", node.capacity())
        yield gauge(
            "sfu_memory_used_bytes",
            "Memory that counts towards the tightest limit: the container, the machine, or node.memory.",
            node.memory.used,
        )
        yield gauge("sfu_memory_limit_bytes", "The tightest memory limit.", node.memory.limit)
        yield counters(
            "sfu_joins_refused_total",
            "Joins rejected because the server is full or draining.",
            "reason",
            node.joins_refused,
        )
