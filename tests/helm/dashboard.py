"""The Grafana dashboard as rows of panels: `python -m tests.helm.dashboard` writes helm/files/dashboard.json.

Grafana's JSON is repetitive; this module is its source.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tests.helm.generated import CHART

PATH = CHART / "files" / "dashboard.json"
SCOPE = 'instance=~"$instance"'
WINDOW = "$__rate_interval"
WIDTH, COLUMNS = 24, 3


@dataclass(frozen=True, slots=True)
class Panel:
    title: str
    unit: str
    queries: tuple[tuple[str, str], ...]
    "(PromQL, legend)."
    words: str = ""
    marks: tuple[float, ...] = ()
    "Thresholds of yellow and red."


def rate(metric: str, by: str = "", where: str = "") -> str:
    return f"sum by ({by}) (rate({metric}{{{SCOPE}{where}}}[{WINDOW}]))"


def now(metric: str, by: str = "") -> str:
    return f"sum by ({by}) ({metric}{{{SCOPE}}})"


def quantile(share: float, metric: str) -> tuple[str, str]:
    query = f"histogram_quantile({share}, sum by (le) (rate({metric}_bucket{{{SCOPE}}}[{WINDOW}])))"
    return query, f"p{share * 100:g}"


def each(query: str, label: str) -> tuple[tuple[str, str], ...]:
    return ((query, f"{{{{{label}}}}}"),)


def quantiles(metric: str, *shares: float) -> tuple[tuple[str, str], ...]:
    return tuple(quantile(share, metric) for share in shares)


def told(metric: str) -> tuple[tuple[str, str], ...]:
    """Quantiles of browsers' reports; 0 without reports."""
    found = quantiles(metric, 0.5, 0.95)
    return tuple((f"({query}) >= 0 or vector(0)", legend) for query, legend in found)


LATENCY = tuple(
    (
        f"{quantile(share, 'sfu_rtt_seconds')[0]} + {quantile(share, 'sfu_forward_latency_seconds')[0]}",
        f"p{share * 100:g}",
    )
    for share in (0.5, 0.95)
)
WATCHED = f'sum(sfu_subscriptions{{{SCOPE},kind="video"}}) > 0'
FROZEN = f"{rate('sfu_client_frozen_seconds_total')} / ({WATCHED}) or vector(0)"
QUICK = ',le="0.05"'
WORSE = ',kind=~"layer_down|paused"'
LOSS = f"{rate('sfu_loss_ratio_sum')} / {rate('sfu_loss_ratio_count')}"
BEHIND = (
    f"{rate('sfu_egress_frames_dropped_total')} / clamp_min({rate('sfu_egress_frames_total')}"
    f" + {rate('sfu_egress_frames_dropped_total')}, 1)"
)
STALLS = f"{rate('sfu_loop_lag_seconds_count')} - {rate('sfu_loop_lag_seconds_bucket', where=QUICK)}"

ROWS: dict[str, tuple[Panel, ...]] = {
    "Node": (
        Panel("Capacity used", "percentunit", each(f"sfu_capacity_used_ratio{{{SCOPE}}}", "instance"), "", (0.8, 0.95)),
        Panel("… by resource", "percentunit", each(f"max by (resource) (sfu_capacity_ratio{{{SCOPE}}})", "resource")),
        Panel("Joins refused", "cps", each(rate("sfu_joins_refused_total", "reason"), "reason")),
        Panel("CPU", "percentunit", each(rate("process_cpu_seconds_total", "instance"), "instance"), "Cores."),
        Panel("Memory", "bytes", each(now("process_resident_memory_bytes", "instance"), "instance")),
        Panel("Event loop lag", "s", quantiles("sfu_loop_lag_seconds", 0.5, 0.99), "", (0.05, 0.1)),
        Panel("Stalls above 50 ms", "cps", ((STALLS, "stalls"),)),
        Panel(
            "Loop time by source",
            "percentunit",
            each(rate("sfu_loop_budget_seconds_total", "source"), "source"),
            "Fraction of the event loop for input of participants and of clients without credentials.",
        ),
        Panel(
            "Throttled for loop time",
            "cps",
            (
                (rate("sfu_loop_budget_throttled_total"), "inputs"),
                (rate("sfu_loop_budget_disconnects_total"), "disconnects"),
            ),
        ),
        Panel(
            "Certificate",
            "s",
            each(f"sfu_tls_certificate_expiry_time_seconds{{{SCOPE}}} - time()", "instance"),
            "Time left.",
        ),
        Panel("Uptime", "s", each(f"time() - sfu_node_start_time_seconds{{{SCOPE}}}", "instance"), "Of each process."),
        Panel("Version", "none", each(now("sfu_node_info", "version"), "version")),
        Panel("Draining", "none", each(now("sfu_node_draining", "instance"), "instance")),
    ),
    "Rooms and participants": (
        Panel("Rooms", "none", ((now("sfu_rooms"), "open"), (rate("sfu_rooms_created_total"), "opened per second"))),
        Panel(
            "Participants",
            "none",
            ((now("sfu_participants"), "in rooms"), (now("sfu_participants_waiting"), "waiting")),
        ),
        Panel("Largest room", "none", ((f"max(sfu_largest_room_participants{{{SCOPE}}})", "participants"),)),
        Panel(
            "Joins",
            "cps",
            ((rate("sfu_participants_joined_total"), "joined"), (rate("sfu_sessions_resumed_total"), "resumed")),
        ),
        Panel("Quality", "none", each(now("sfu_participant_quality", "quality"), "quality"), "Participants."),
        Panel("Tracks", "none", each(now("sfu_tracks", "kind"), "kind"), "Published."),
        Panel("Subscriptions", "none", each(now("sfu_subscriptions", "kind"), "kind")),
        Panel("Media connections", "none", each(now("sfu_peers", "state"), "state")),
        Panel(
            "Sessions",
            "none",
            (
                (now("sfu_sessions"), "sessions"),
                (now("sfu_signaling_sockets"), "sockets"),
                (now("sfu_http_sessions"), "WHIP"),
            ),
        ),
        Panel(
            "TURN servers",
            "none",
            each(f'max by (url) (sfu_turn_server_state{{{SCOPE}, state="failed"}})', "url"),
            "1: a server fails. Clients do not get it.",
        ),
        Panel("TURN latency", "s", each(f"max by (url) (sfu_turn_latency_seconds{{{SCOPE}}})", "url")),
    ),
    "Joining": (
        Panel("First frame", "s", quantiles("sfu_first_picture_seconds", 0.5, 0.95), "From the first offer.", (1, 3)),
        Panel("Offer to answer", "s", quantiles("sfu_negotiation_seconds", 0.5, 0.95)),
        Panel("ICE and DTLS", "s", quantiles("sfu_join_latency_seconds", 0.5, 0.95)),
        Panel("Handshakes", "cps", each(rate("sfu_dtls_handshakes_total", "result"), "result")),
    ),
    "Traffic": (
        Panel("Bit rate", "bps", each(f"8 * {rate('sfu_media_bytes_total', 'direction')}", "direction")),
        Panel("Packets", "pps", each(rate("sfu_packets_total", "direction"), "direction")),
        Panel("Dropped", "pps", each(f"{rate('sfu_packets_dropped_total', 'reason')} or vector(0)", "reason")),
        Panel("NACK", "cps", each(rate("sfu_nacks_total", "direction"), "direction"), "Packets requested again."),
        Panel("Retransmissions", "pps", each(rate("sfu_retransmissions_total", "direction"), "direction")),
        Panel(
            "Keyframe requests",
            "cps",
            (
                (rate("sfu_plis_total", "direction"), "PLI {{direction}}"),
                (rate("sfu_firs_total", "direction"), "FIR {{direction}}"),
            ),
        ),
    ),
    "Paths": (
        Panel(
            "Latency",
            "s",
            LATENCY,
            "One round trip plus forwarding: the delay that a listener experiences.",
            (0.1, 0.3),
        ),
        Panel("Round trip", "s", quantiles("sfu_rtt_seconds", 0.5, 0.95)),
        Panel("Forwarding latency", "s", quantiles("sfu_forward_latency_seconds", 0.5, 0.99), "", (0.02, 0.1)),
        Panel("Jitter", "s", quantiles("sfu_jitter_seconds", 0.5, 0.95), "", (0.015, 0.05)),
        Panel(
            "Loss",
            "percentunit",
            ((LOSS, "mean"), quantile(0.95, "sfu_loss_ratio")),
            "From clients to the server.",
            (0.02, 0.05),
        ),
    ),
    "User experience": (
        Panel(
            "Decisions",
            "cps",
            each(f"{rate('sfu_decisions_total', 'kind')} or vector(0)", "kind"),
            "About participants' media.",
        ),
        Panel(
            "Degradations by cause",
            "cps",
            each(f"{rate('sfu_decisions_total', 'cause', WORSE)} or vector(0)", "cause"),
            "Videos that became smaller or were paused.",
        ),
        Panel(
            "Frozen video",
            "percentunit",
            ((FROZEN, "share"),),
            "Fraction of the time, over all videos, as browsers report it.",
            (0.01, 0.05),
        ),
        Panel("Round trip of browsers", "s", told("sfu_client_rtt_seconds"), "As browsers report it.", (0.1, 0.3)),
        Panel("Jitter of browsers", "s", told("sfu_client_jitter_seconds"), "Of their worst track.", (0.015, 0.05)),
        Panel("Loss of browsers", "percentunit", told("sfu_client_loss_ratio"), "Of their worst track.", (0.02, 0.05)),
    ),
    "Signalling and API": (
        Panel("Messages", "cps", each(rate("sfu_signaling_messages_total", "direction"), "direction")),
        Panel("Rate limited", "cps", ((rate("sfu_signaling_rate_limited_total"), "messages"),)),
        Panel("Requests", "reqps", each(rate("sfu_http_requests_total", "status"), "status")),
        Panel("Tokens refused", "cps", each(f"{rate('sfu_tokens_refused_total', 'reason')} or vector(0)", "reason")),
    ),
    "Cluster": (
        Panel("Nodes", "none", ((f"max(sfu_cluster_nodes{{{SCOPE}}}) or vector(0)", "known nodes"),)),
        Panel(
            "Homes", "none", each(f"{now('sfu_cluster_homes', 'instance')} or vector(0)", "instance"), "Rooms by node."
        ),
        Panel(
            "Directory lost, cut off",
            "none",
            (
                (f"count(sfu_cluster_directory_reachable{{{SCOPE}}} == 0) or vector(0)", "without directory"),
                (f"sum(sfu_cluster_cut_off{{{SCOPE}}}) or vector(0)", "cut off"),
            ),
            "Nodes. One that is cut off refuses joins, moderation and chat.",
            (1,),
        ),
        Panel(
            "Rooms moved",
            "cps",
            (
                (f"{rate('sfu_cluster_takeovers_total')} or vector(0)", "taken over"),
                (f"{rate('sfu_cluster_lost_rooms_total')} or vector(0)", "given up"),
            ),
        ),
        Panel("Sessions rebuilt", "cps", ((rate("sfu_sessions_rebuilt_total"), "participants that returned"),)),
        Panel(
            "Snapshots",
            "cps",
            (
                (f"{rate('sfu_cluster_snapshots_saved_total')} or vector(0)", "saved"),
                (f"{rate('sfu_cluster_snapshots_refused_total')} or vector(0)", "refused"),
            ),
        ),
        Panel("Unsaved rooms", "none", ((f"{now('sfu_cluster_unsaved_rooms')} or vector(0)", "rooms"),)),
        Panel(
            "Bus messages refused",
            "cps",
            each(f"{rate('sfu_cluster_bus_refused_total', 'reason')} or vector(0)", "reason"),
        ),
    ),
    "Events": (
        Panel("Events", "cps", ((rate("sfu_events_total"), "events"),)),
        Panel(
            "Undelivered webhooks", "none", each(f"{now('sfu_webhooks_queued', 'receiver')} or vector(0)", "receiver")
        ),
        Panel(
            "Webhooks",
            "cps",
            (
                (f"{rate('sfu_webhooks_delivered_total')} or vector(0)", "delivered"),
                (f"{rate('sfu_webhooks_failed_total')} or vector(0)", "failed attempts"),
                (f"{rate('sfu_webhooks_dropped_total')} or vector(0)", "lost"),
            ),
        ),
    ),
    "Egress": (
        Panel("Jobs", "none", ((now("sfu_egress_jobs"), "running"),)),
        Panel(
            "Frames dropped",
            "percentunit",
            ((BEHIND, "dropped"),),
            "Frames that a mixer was too late for.",
            (0.02, 0.1),
        ),
        Panel("Frames composed", "cps", ((rate("sfu_egress_frames_total"), "composed"),)),
        Panel("CPU", "percentunit", ((rate("sfu_egress_cpu_seconds_total"), "cores"),)),
        Panel("Worker restarts", "cps", ((rate("sfu_egress_worker_restarts_total"), "restarts"),)),
        Panel("RTMP pushes", "none", each(now("sfu_egress_destinations", "state"), "state")),
        Panel("Recordings", "none", each(now("sfu_recordings", "state"), "state")),
    ),
}


def queries() -> Iterator[tuple[str, str]]:
    """(Row and title, PromQL) of every query."""
    for row, panels in ROWS.items():
        for panel in panels:
            yield from ((f"{row}: {panel.title}", query) for query, _ in panel.queries)


def dashboard() -> dict[str, Any]:
    panels: list[dict[str, Any]] = []
    source = {"type": "prometheus", "uid": "${datasource}"}
    y = 0
    for row, its in ROWS.items():
        panels.append(
            {"type": "row", "title": row, "collapsed": False, "gridPos": {"x": 0, "y": y, "w": WIDTH, "h": 1}}
        )
        y += 1
        for number, panel in enumerate(its):
            at = {
                "x": number % COLUMNS * WIDTH // COLUMNS,
                "y": y + number // COLUMNS * 7,
                "w": WIDTH // COLUMNS,
                "h": 7,
            }
            panels.append(_panel(panel, at, source))
        y += 7 * -(-len(its) // COLUMNS)
    for number, each_ in enumerate(panels, 1):
        each_["id"] = number
    variables = [
        {"name": "datasource", "type": "datasource", "query": "prometheus", "label": "Prometheus"},
        {
            "name": "instance",
            "type": "query",
            "datasource": source,
            "query": {"query": "label_values(sfu_node_info, instance)", "refId": "instance"},
            "refresh": 2,
            "multi": True,
            "includeAll": True,
            "allValue": ".*",
            "current": {"text": "All", "value": "$__all"},
        },
    ]
    return {
        "title": "aiosfu",
        "uid": "aiosfu",
        "tags": ["webrtc", "sfu"],
        "timezone": "browser",
        "schemaVersion": 39,
        "version": 1,
        "refresh": "15s",
        "time": {"from": "now-1h", "to": "now"},
        "graphTooltip": 1,
        "templating": {"list": variables},
        "annotations": {"list": []},
        "panels": panels,
    }


def _panel(panel: Panel, at: dict[str, int], source: dict[str, str]) -> dict[str, Any]:
    steps: list[dict[str, Any]] = [{"color": "green", "value": None}]
    steps += [{"color": color, "value": mark} for color, mark in zip(("yellow", "red"), panel.marks, strict=False)]
    custom = {"fillOpacity": 10, "thresholdsStyle": {"mode": "line" if panel.marks else "off"}}
    return {
        "type": "timeseries",
        "title": panel.title,
        "description": panel.words,
        "datasource": source,
        "gridPos": at,
        "fieldConfig": {
            "defaults": {
                "unit": panel.unit,
                "min": 0,
                "custom": custom,
                "thresholds": {"mode": "absolute", "steps": steps},
            },
            "overrides": [],
        },
        "options": {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi"}},
        "targets": [
            {"refId": chr(ord("A") + number), "datasource": source, "expr": query, "legendFormat": legend}
            for number, (query, legend) in enumerate(panel.queries)
        ],
    }


def text() -> str:
    return json.dumps(dashboard(), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    PATH.write_text(text(), encoding="utf-8")
