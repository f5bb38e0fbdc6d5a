"""Metrics of this node's part in a cluster."""

from collections.abc import Callable, Iterator

from prometheus_client.core import Metric

from sfu.cluster.statistics import Statistics
from sfu.telemetry.metrics import Collector, counter, counters, gauge


class ClusterCollector(Collector):
    """Without a cluster, `statistics` returns None and it yields nothing."""

    def __init__(self, statistics: Callable[[], Statistics | None]) -> None:
        self._statistics = statistics

    def collect(self) -> Iterator[Metric]:
        found = self._statistics()
        if found is None:
            return
        yield gauge("sfu_cluster_nodes", "Living nodes that this node knows, itself included.", found.nodes)
        yield gauge(
            "sfu_cluster_directory_reachable",
            "1: the directory answered the last request. 0: rooms without a home cannot be joined.",
            found.directory_reachable,
        )
        yield gauge(
            "sfu_cluster_cut_off",
            "1: this node reaches neither the directory nor a peer, and refuses joins, moderation and chat.",
            found.cut_off,
        )
        yield gauge("sfu_cluster_homes", "Rooms whose home is this node.", found.homes)
        yield gauge(
            "sfu_cluster_mirrored_rooms", "Rooms of other nodes of which this node is an edge.", found.mirrored_rooms
        )
        yield gauge("sfu_cluster_edges", "Edges of the rooms of this node, one for each room and node.", found.edges)
        yield counter(
            "sfu_cluster_links_lost_total",
            "Links between homes and edges that missed a message. They start again with the whole state.",
            found.links_lost,
        )
        yield gauge(
            "sfu_cluster_unsaved_rooms",
            "Rooms with changes that the directory does not have yet: another node would restore them without these.",
            found.unsaved_rooms,
        )
        yield counter(
            "sfu_cluster_takeovers_total",
            "Rooms that this node has restored from the snapshot of another.",
            found.takeovers,
        )
        yield counter(
            "sfu_cluster_lost_rooms_total",
            "Rooms that this node has given up because another node is their home. Their clients reconnect.",
            found.lost_rooms,
        )
        yield counter("sfu_cluster_snapshots_saved_total", "Snapshots of rooms saved.", found.snapshots_saved)
        yield counters(
            "sfu_cluster_snapshots_refused_total",
            "Snapshots not saved; reason fenced: the room has another home; oversized: it cannot be restored elsewhere.",
            "reason",
            found.snapshots_refused,
        )
        yield counters(
            "sfu_cluster_bus_refused_total",
            "Messages of other nodes that were dropped; reason forged: not signed with a secret of this cluster.",
            "reason",
            found.bus_refused,
        )
        yield counter(
            "sfu_cluster_revocations_dropped_total",
            "Revocations that did not reach other nodes because too many waited for the bus.",
            found.revocations_dropped,
        )
