"""Prometheus metrics, built from a Snapshot at each scrape. Nothing here runs on the packet path.

`app.py` fills the Snapshot from counters that the subsystems keep anyway. Names follow the Prometheus conventions: prefix
`sfu_`, base units, `_total` on counters only. No label contains a room or a participant: these are unbounded and private.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import accumulate

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from sfu.telemetry.histogram import NOTHING, Distribution

CONTENT_TYPE = CONTENT_TYPE_LATEST

Counts = Mapping[str, int]
"""Count per value of one label."""


@dataclass(frozen=True, slots=True)
class Directions:
    """Counters for one kind of item, received from clients and sent to clients."""

    received: int = 0
    sent: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """State of the server and its counters since the start, read at one time."""

    version: str = ""
    started_at: float = 0.0
    "Unix time."
    draining: bool = False
    capacity_used: float = 0.0
    "Usage of the fullest resource, 0 to 1. Intended for autoscalers."

    capacity: Mapping[str, float] = field(default_factory=dict)
    "Usage per resource, 0 to 1: cpu, network, memory, descriptors, rooms."
    tasks: int = 0
    "Asyncio tasks."
    memory_used_bytes: int = 0
    "Memory that counts towards the tightest limit: the container, the machine, or `node.memory`."
    memory_limit_bytes: int = 0
    joins_refused: Counts = field(default_factory=dict)
    "Rejected joins by reason: capacity, draining."
    certificate_expires_at: float = 0.0
    "Unix time; 0: the server has no certificate."

    rooms: int = 0
    largest_room: int = 0
    "Participants in the largest room."
    rooms_total: int = 0
    participants: int = 0
    participants_total: int = 0
    waiting: int = 0
    "Participants waiting in lobbies."
    quality: Counts = field(default_factory=dict)
    "Participants by connection quality: excellent, good, poor, lost."
    sessions: int = 0
    "Signalling sessions, including those that wait for their client to resume."
    sockets: int = 0
    "Connected WebSockets."
    peers: Counts = field(default_factory=dict)
    "Media connections by state."
    tracks: Counts = field(default_factory=dict)
    "Published tracks by kind."
    subscriptions: Counts = field(default_factory=dict)
    "Subscriptions by kind."

    packets: Directions = Directions()
    bytes: Directions = Directions()
    dropped: Counts = field(default_factory=dict)
    "Dropped packets by reason."
    nacks: Directions = Directions()
    "Packets requested again by NACK."
    plis: Directions = Directions()
    firs: int = 0
    "FIRs received from clients; the server sends none."
    retransmissions: Directions = Directions()
    signaling: Directions = Directions()
    "Signalling messages."
    signaling_refused: Counts = field(default_factory=dict)
    "Rejected messages by reason (request, unreadable), and WebSockets closed for invalid frames (protocol)."
    rate_limited: int = 0
    "Signalling messages rejected by the rate limit."
    resumed: int = 0
    "Sessions resumed after a lost socket."
    tokens_refused: Counts = field(default_factory=dict)
    "Rejected access tokens by error code."
    dtls_handshakes: Counts = field(default_factory=dict)
    "DTLS handshakes by result: ok, failed."
    http_requests: Mapping[tuple[str, str, str], int] = field(default_factory=dict)
    "HTTP requests by method, route pattern (never the path) and status."
    http_connections: int = 0
    http_refused: Counts = field(default_factory=dict)
    "Rejected connections by reason: total, address, late_head. Includes requests of clients behind a proxy."

    decisions: Mapping[tuple[str, str], int] = field(default_factory=dict)
    "Decisions about participants' media, by kind and cause."
    client_rtt: Distribution = NOTHING
    "Seconds, reported by browsers."
    client_jitter: Distribution = NOTHING
    client_loss: Distribution = NOTHING
    "Fraction 0 to 1 of the worst track, per report of a browser."
    client_freezes: int = 0
    "Video freezes reported by browsers."
    client_frozen: float = 0.0
    "Seconds of frozen video reported by browsers."

    rtt: Distribution = NOTHING
    jitter: Distribution = NOTHING
    loss: Distribution = NOTHING
    "Fraction 0 to 1, per report."
    forward_latency: Distribution = NOTHING
    join_latency: Distribution = NOTHING
    "Seconds from a connection's first session description to its SRTP keys: ICE and DTLS."
    first_picture: Distribution = NOTHING
    "Seconds from a subscribing connection's first offer to the first picture on it."
    negotiation: Distribution = NOTHING
    "Seconds from an offer to its answer."
    loop_lag: Distribution = NOTHING
    loop_stalls: int = 0
    "Times that the event loop was blocked for half a second or longer."

    loop_seconds: Mapping[str, float] = field(default_factory=dict)
    "Event-loop time charged to budgets, by source: media, signaling, unauthenticated."
    loop_throttled: Counts = field(default_factory=dict)
    "Inputs dropped or delayed because their budget was used up, by source."
    loop_disconnects: int = 0
    "Participants disconnected because they exceeded their share of event loop time."

    egress_jobs: int = 0
    "Running composite egress jobs."
    egress_frames: int = 0
    "Frames composited."
    egress_frames_dropped: int = 0
    "Frames dropped because a worker was too slow."
    egress_worker_restarts: int = 0
    "Workers that were replaced."
    egress_cpu: float = 0.0
    "CPU seconds of the workers."
    destinations: Counts = field(default_factory=dict)
    "Push destinations by state."
    recordings: Counts = field(default_factory=dict)
    "Active composite and track recordings by state."


class Metrics:
    """Renders the metrics page. Uses its own registry, so that several servers can run in one process."""

    def __init__(self, snapshot: Callable[[], Snapshot]) -> None:
        self._snapshot = snapshot
        self._process = ProcessCollector(registry=CollectorRegistry(auto_describe=False))

    def render(self) -> bytes:
        """The page in text format (`CONTENT_TYPE`)."""
        return b"".join(self.parts())

    def parts(self) -> Iterator[bytes]:
        """The page in parts, each of which takes a fraction of a millisecond to render."""
        for family in families(self._snapshot()):
            yield generate_latest(_Only(family))
        for family in self._process.collect():
            yield generate_latest(_Only(family))


class _Only(CollectorRegistry):
    """A registry that contains one metric family."""

    def __init__(self, family: Metric) -> None:
        super().__init__(auto_describe=False)
        self._family = family

    def collect(self) -> Iterator[Metric]:
        yield self._family


def families(now: Snapshot) -> Iterator[Metric]:
    """Converts a snapshot to metric families."""
    info = GaugeMetricFamily("sfu_node_info", "The running version; always 1.", labels=["version"])
    info.add_metric([now.version], 1)
    yield info
    yield _gauge("sfu_node_start_time_seconds", "Start time of the server in Unix time.", now.started_at)
    yield _gauge("sfu_node_draining", "1 while the server is draining and rejects new rooms.", now.draining)
    yield _gauge("sfu_capacity_used_ratio", "Usage of the fullest resource, 0 to 1.", now.capacity_used)

    parts = GaugeMetricFamily("sfu_capacity_ratio", "Usage of each resource, 0 to 1.", labels=["resource"])
    for resource, share in now.capacity.items():
        parts.add_metric([resource], share)
    yield parts
    yield _gauge(
        "sfu_memory_used_bytes",
        "Memory that counts towards the tightest limit: the container, the machine, or node.memory.",
        now.memory_used_bytes,
    )
    yield _gauge("sfu_tasks", "Asyncio tasks.", now.tasks)
    yield _gauge("sfu_memory_limit_bytes", "The tightest memory limit.", now.memory_limit_bytes)
    yield _counters(
        "sfu_joins_refused_total", "Joins rejected because the server is full or draining.", "reason", now.joins_refused
    )
    if now.certificate_expires_at:
        yield _gauge(
            "sfu_tls_certificate_expiry_time_seconds",
            "Expiry of the TLS certificate in Unix time.",
            now.certificate_expires_at,
        )

    yield _gauge("sfu_rooms", "Open rooms.", now.rooms)
    yield _gauge("sfu_largest_room_participants", "Participants in the largest room.", now.largest_room)
    yield _counter("sfu_rooms_created_total", "Rooms created.", now.rooms_total)
    yield _gauge("sfu_participants", "Participants in rooms.", now.participants)
    yield _counter("sfu_participants_joined_total", "Joins.", now.participants_total)
    yield _gauge("sfu_participants_waiting", "Participants waiting in lobbies.", now.waiting)
    yield _gauges("sfu_participant_quality", "Participants by connection quality.", "quality", now.quality)
    yield _gauge("sfu_sessions", "Signalling sessions, connected or waiting for their client to resume.", now.sessions)
    yield _gauge("sfu_signaling_sockets", "Connected WebSockets.", now.sockets)
    yield _gauges("sfu_peers", "Media connections.", "state", now.peers)
    yield _gauges("sfu_tracks", "Published tracks.", "kind", now.tracks)
    yield _gauges("sfu_subscriptions", "Subscriptions to tracks.", "kind", now.subscriptions)

    yield _directions("sfu_packets_total", "RTP packets received from and sent to clients.", now.packets)
    yield _directions("sfu_media_bytes_total", "Bytes of RTP received from and sent to clients.", now.bytes)
    yield _counters("sfu_packets_dropped_total", "Packets dropped.", "reason", now.dropped)
    yield _directions("sfu_nacks_total", "Packets requested again by NACK.", now.nacks)
    yield _directions("sfu_plis_total", "Keyframe requests by PLI.", now.plis)
    yield _counters("sfu_firs_total", "Keyframe requests by FIR.", "direction", {"received": now.firs})
    yield _directions("sfu_retransmissions_total", "Retransmitted packets (RTX).", now.retransmissions)
    yield _counters("sfu_dtls_handshakes_total", "DTLS handshakes.", "result", now.dtls_handshakes)

    yield _directions("sfu_signaling_messages_total", "Signalling messages.", now.signaling)
    yield _counters(
        "sfu_signaling_refused_total",
        "Signalling messages rejected; reason protocol: WebSockets closed for invalid frames.",
        "reason",
        now.signaling_refused,
    )
    yield _counter(
        "sfu_signaling_rate_limited_total", "Signalling messages rejected by the rate limit.", now.rate_limited
    )
    yield _counter("sfu_sessions_resumed_total", "Sessions resumed after a lost socket.", now.resumed)
    yield _counters("sfu_tokens_refused_total", "Access tokens rejected.", "reason", now.tokens_refused)
    requests = CounterMetricFamily("sfu_http_requests_total", "HTTP requests.", labels=["method", "route", "status"])
    for labels, count in now.http_requests.items():
        requests.add_metric(labels, count)
    yield requests
    yield _gauge("sfu_http_connections", "Open HTTP connections, including WebSockets.", now.http_connections)
    yield _counters(
        "sfu_http_connections_refused_total",
        "HTTP connections rejected or closed: too many in total or per address, or a request header that arrived too late.",
        "reason",
        now.http_refused,
    )

    decisions = CounterMetricFamily(
        "sfu_decisions_total", "Decisions about participants' media and their causes.", labels=["kind", "cause"]
    )
    for (kind, cause), count in now.decisions.items():
        decisions.add_metric([kind, cause], count)
    yield decisions
    yield _histogram("sfu_client_rtt_seconds", "Round-trip time reported by browsers.", now.client_rtt)
    yield _histogram("sfu_client_jitter_seconds", "Jitter of the worst track reported by browsers.", now.client_jitter)
    yield _histogram(
        "sfu_client_loss_ratio", "Fraction of packets lost of the worst track reported by browsers.", now.client_loss
    )
    yield _counter("sfu_client_freezes_total", "Video freezes reported by browsers.", now.client_freezes)
    yield CounterMetricFamily(
        "sfu_client_frozen_seconds_total",
        "Seconds of frozen video reported by browsers.",
        value=now.client_frozen,
    )

    yield _histogram("sfu_rtt_seconds", "Round-trip time to clients, per RTCP report.", now.rtt)
    yield _histogram("sfu_jitter_seconds", "Interarrival jitter of received streams, per RTCP report.", now.jitter)
    yield _histogram("sfu_loss_ratio", "Fraction of packets lost, per RTCP report.", now.loss)
    yield _histogram(
        "sfu_forward_latency_seconds", "Time from a packet's arrival to its last send.", now.forward_latency
    )
    yield _histogram(
        "sfu_join_latency_seconds",
        "Time from a media connection's first session description to its SRTP keys (ICE and DTLS).",
        now.join_latency,
    )
    yield _histogram(
        "sfu_first_picture_seconds",
        "Time from a subscribing connection's first offer to its first picture.",
        now.first_picture,
    )
    yield _histogram("sfu_negotiation_seconds", "Time from an offer to the client's answer.", now.negotiation)
    yield _counter(
        "sfu_loop_stalls_total", "Times that the event loop was blocked; the log shows where.", now.loop_stalls
    )
    yield _histogram("sfu_loop_lag_seconds", "Event loop lag, sampled four times a second.", now.loop_lag)

    seconds = CounterMetricFamily(
        "sfu_loop_budget_seconds",
        "Event-loop time charged to participants (media, signaling) and to unauthenticated clients.",
        labels=["source"],
    )
    for source, used in now.loop_seconds.items():
        seconds.add_metric([source], used)
    yield seconds
    yield _counters(
        "sfu_loop_budget_throttled_total",
        "Datagrams dropped and messages delayed because their source used up its share of the event loop.",
        "source",
        now.loop_throttled,
    )
    yield _counter(
        "sfu_loop_budget_disconnects_total",
        "Participants disconnected because they kept exceeding their share of the event loop.",
        now.loop_disconnects,
    )

    yield _gauge("sfu_egress_jobs", "Running composite egress jobs.", now.egress_jobs)
    yield _counter("sfu_egress_frames_total", "Frames composited.", now.egress_frames)
    yield _counter(
        "sfu_egress_frames_dropped_total",
        "Frames dropped because an egress worker was too slow.",
        now.egress_frames_dropped,
    )
    yield _counter("sfu_egress_worker_restarts_total", "Egress workers that were replaced.", now.egress_worker_restarts)
    yield CounterMetricFamily("sfu_egress_cpu_seconds_total", "CPU time of the egress workers.", value=now.egress_cpu)
    yield _gauges("sfu_egress_destinations", "Push destinations of egress jobs.", "state", now.destinations)
    yield _gauges("sfu_recordings", "Active recordings; an interrupted one cannot be written.", "state", now.recordings)


def _gauge(name: str, words: str, value: float) -> Metric:
    return GaugeMetricFamily(name, words, value=float(value))


def _gauges(name: str, words: str, label: str, values: Counts) -> Metric:
    family = GaugeMetricFamily(name, words, labels=[label])
    for key, value in values.items():
        family.add_metric([key], value)
    return family


def _counter(name: str, words: str, value: int) -> Metric:
    return CounterMetricFamily(name, words, value=value)


def _counters(name: str, words: str, label: str, values: Counts) -> Metric:
    family = CounterMetricFamily(name, words, labels=[label])
    for key, value in values.items():
        family.add_metric([key], value)
    return family


def _directions(name: str, words: str, value: Directions) -> Metric:
    return _counters(name, words, "direction", {"received": value.received, "sent": value.sent})


def _histogram(name: str, words: str, value: Distribution) -> Metric:
    bounds = [*map(str, value.bounds), "+Inf"]
    buckets = list(zip(bounds, map(float, accumulate(value.counts)), strict=True))
    return HistogramMetricFamily(name, words, buckets=buckets, sum_value=value.total)
