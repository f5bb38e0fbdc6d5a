"""sfu.admin.collectors.cluster."""

from sfu.admin.collectors.cluster import ClusterCollector
from sfu.cluster.statistics import Statistics
from sfu.telemetry.metrics import Metrics

STATISTICS = Statistics(
    nodes=3,
    directory_reachable=False,
    cut_off=True,
    homes=5,
    mirrored_rooms=3,
    edges=4,
    links_lost=8,
    unsaved_rooms=2,
    takeovers=7,
    lost_rooms=1,
    snapshots_saved=40,
    snapshots_refused={"fenced": 1, "oversized": 2},
    bus_refused={"forged": 4, "old": 0},
    revocations_dropped=6,
)


def test_page() -> None:
    lines = Metrics([ClusterCollector(lambda: STATISTICS)]).render().decode().splitlines()
    assert [line for line in lines if line.startswith("sfu_cluster")] == [
        "sfu_cluster_nodes 3.0",
        "sfu_cluster_directory_reachable 0.0",
        "sfu_cluster_cut_off 1.0",
        "sfu_cluster_homes 5.0",
        "sfu_cluster_mirrored_rooms 3.0",
        "sfu_cluster_edges 4.0",
        "sfu_cluster_links_lost_total 8.0",
        "sfu_cluster_unsaved_rooms 2.0",
        "sfu_cluster_takeovers_total 7.0",
        "sfu_cluster_lost_rooms_total 1.0",
        "sfu_cluster_snapshots_saved_total 40.0",
        'sfu_cluster_snapshots_refused_total{reason="fenced"} 1.0',
        'sfu_cluster_snapshots_refused_total{reason="oversized"} 2.0',
        'sfu_cluster_bus_refused_total{reason="forged"} 4.0',
        'sfu_cluster_bus_refused_total{reason="old"} 0.0',
        "sfu_cluster_revocations_dropped_total 6.0",
    ]


def test_without_a_cluster() -> None:
    assert list(ClusterCollector(lambda: None).collect()) == []
