"""sfu.telemetry.metrics: pages are parsed by the Prometheus client library, and checked by promtool if installed."""

import shutil
import subprocess
from dataclasses import fields

import pytest
from prometheus_client.parser import text_string_to_metric_families

from sfu.telemetry.histogram import RATIOS, Histogram
from sfu.telemetry.metrics import CONTENT_TYPE, Directions, Metrics, Snapshot

HISTOGRAM = Histogram((0.1, 1.0))
for observed in (0.05, 0.5, 5.0):
    HISTOGRAM.observe(observed)

FULL = Snapshot(
    version="1.2.3",
    started_at=1000.0,
    draining=True,
    capacity_used=0.25,
    rooms=2,
    rooms_total=3,
    participants=4,
    participants_total=5,
    waiting=6,
    sessions=7,
    sockets=8,
    peers={"connected": 9, "new": 10},
    tracks={"audio": 11, "video": 12},
    subscriptions={"audio": 13, "video": 14},
    packets=Directions(15, 16),
    bytes=Directions(17, 18),
    dropped={"bad_tag": 19, "unknown_source": 20},
    nacks=Directions(21, 22),
    plis=Directions(23, 24),
    retransmissions=Directions(27, 28),
    signaling=Directions(29, 30),
    rate_limited=31,
    resumed=32,
    tokens_refused={"token_expired": 33},
    dtls_handshakes={"ok": 34, "failed": 35},
    http_requests={("GET", '/r/{room}"\n', "200"): 36},
    rtt=HISTOGRAM.distribution(),
    jitter=HISTOGRAM.distribution(),
    loss=Histogram(RATIOS).distribution(),
    forward_latency=HISTOGRAM.distribution(),
    join_latency=HISTOGRAM.distribution(),
    loop_lag=HISTOGRAM.distribution(),
    capacity={"cpu": 0.375},
    tasks=29,
    memory_used_bytes=300,
    memory_limit_bytes=400,
    joins_refused={"capacity": 37},
    certificate_expires_at=38,
    largest_room=39,
    quality={"good": 40},
    firs=41,
    first_picture=HISTOGRAM.distribution(),
    negotiation=HISTOGRAM.distribution(),
    egress_jobs=42,
    egress_frames=43,
    egress_frames_dropped=44,
    egress_worker_restarts=45,
    egress_cpu=46,
    destinations={"live": 47},
    signaling_refused={"request": 48},
    loop_stalls=49,
    decisions={("layer_down", "budget"): 50},
    client_rtt=HISTOGRAM.distribution(),
    client_jitter=HISTOGRAM.distribution(),
    client_loss=Histogram(RATIOS).distribution(),
    client_freezes=51,
    client_frozen=52,
    recordings={"interrupted": 53},
    http_connections=54,
    http_refused={"address": 55},
    loop_seconds={"media": 56.0},
    loop_throttled={"signaling": 57},
    loop_disconnects=58,
)


def samples(snapshot: Snapshot) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    text = Metrics(lambda: snapshot).render().decode()
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_content_type_is_the_text_format() -> None:
    assert CONTENT_TYPE.startswith("text/plain; version=")


@pytest.mark.parametrize(
    ("name", "labels", "value"),
    [
        ("sfu_node_info", {"version": "1.2.3"}, 1),
        ("sfu_node_draining", {}, 1),
        ("sfu_capacity_used_ratio", {}, 0.25),
        ("sfu_capacity_ratio", {"resource": "cpu"}, 0.375),
        ("sfu_tasks", {}, 29.0),
        ("sfu_memory_used_bytes", {}, 300.0),
        ("sfu_memory_limit_bytes", {}, 400.0),
        ("sfu_rooms", {}, 2),
        ("sfu_peers", {"state": "connected"}, 9),
        ("sfu_packets_total", {"direction": "received"}, 15),
        ("sfu_packets_total", {"direction": "sent"}, 16),
        ("sfu_packets_dropped_total", {"reason": "bad_tag"}, 19),
        ("sfu_http_requests_total", {"method": "GET", "route": '/r/{room}"\n', "status": "200"}, 36),
        ("sfu_decisions_total", {"kind": "layer_down", "cause": "budget"}, 50),
        ("sfu_client_freezes_total", {}, 51),
        ("sfu_loop_budget_seconds_total", {"source": "media"}, 56.0),
        ("sfu_loop_budget_throttled_total", {"source": "signaling"}, 57),
        ("sfu_client_jitter_seconds_count", {}, 3),
        ("sfu_rtt_seconds_bucket", {"le": "0.1"}, 1),
        ("sfu_rtt_seconds_bucket", {"le": "1.0"}, 2),
        ("sfu_rtt_seconds_bucket", {"le": "+Inf"}, 3),
        ("sfu_rtt_seconds_count", {}, 3),
        ("sfu_rtt_seconds_sum", {}, 5.55),
    ],
)
def test_values(name: str, labels: dict[str, str], value: float) -> None:
    assert samples(FULL)[name, tuple(sorted(labels.items()))] == pytest.approx(value)


def test_every_field_is_exported() -> None:
    shown = set(samples(FULL).values())
    for number in {*range(2, 59)} - {25, 26}:
        assert number in shown
    empty = {name for name, _ in samples(Snapshot())}
    assert "sfu_rooms" in empty
    assert len(fields(Snapshot)) == 63


def test_names_follow_the_convention() -> None:
    text = Metrics(lambda: FULL).render().decode()
    for family in text_string_to_metric_families(text):
        if family.name.startswith(("process_", "python_")):
            continue
        assert family.name.startswith("sfu_")
        assert family.documentation.endswith(".")
        total = {sample.name.endswith("_total") for sample in family.samples}
        assert total == {family.type == "counter"}, family.name
        for sample in family.samples:
            assert not set(sample.labels) & {"room", "identity", "participant", "track"}


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
def test_promtool_accepts_it() -> None:
    for snapshot in (FULL, Snapshot()):
        text = Metrics(lambda snapshot=snapshot: snapshot).render()  # type: ignore[misc]  # the loop's variable, bound
        result = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, check=False)
        assert result.returncode == 0, result.stdout + result.stderr
