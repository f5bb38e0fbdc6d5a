"""Prometheus metrics, read when they are scraped: nothing is counted twice and nothing here is on the packet path.

`app.py` fills a Snapshot from the counters that the parts keep anyway. Names follow Prometheus' convention: the prefix
`sfu_`, base units, `_total` on counters only. No label holds a room or a person: those are unbounded, and private.
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
"""By one label's value."""


@dataclass(frozen=True, slots=True)
class Directions:
    """Counts of one thing from clients (`received`) and to clients (`sent`)."""

    received: int = 0
    sent: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """The server's state and its counters since the start, at one moment."""

    version: str = ""
    started_at: float = 0.0
    "Seconds since 1970."
    draining: bool = False
    capacity_used: float = 0.0
    "0 to 1: the fullest of the caps and of the CPU; what an autoscaler looks at."

    capacity: Mapping[str, float] = field(default_factory=dict)
    "The same by resource: cpu, network, memory, descriptors, rooms."
    tasks: int = 0
    "Of the event loop."
    memory_used_bytes: int = 0
    "Of what limits it first: the container, the machine, or what the operator gave it."
    memory_limit_bytes: int = 0
    joins_refused: Counts = field(default_factory=dict)
    "By reason: capacity, draining."
    certificate_expires_at: float = 0.0
    "Seconds since 1970; 0: no certificate of its own."

    rooms: int = 0
    largest_room: int = 0
    "Participants of the fullest one."
    rooms_total: int = 0
    participants: int = 0
    participants_total: int = 0
    waiting: int = 0
    "In lobbies."
    quality: Counts = field(default_factory=dict)
    "Participants by how well they are connected: excellent, good, poor, lost."
    sessions: int = 0
    "Signalling sessions, those that wait for their client to come back included."
    sockets: int = 0
    "Connected WebSockets."
    peers: Counts = field(default_factory=dict)
    "Media connections by state."
    tracks: Counts = field(default_factory=dict)
    "Published now, by kind."
    subscriptions: Counts = field(default_factory=dict)
    "Subscriptions now, by kind."

    packets: Directions = Directions()
    bytes: Directions = Directions()
    dropped: Counts = field(default_factory=dict)
    "Packets by reason."
    nacks: Directions = Directions()
    "Packets asked for again."
    plis: Directions = Directions()
    firs: int = 0
    "Asked for by clients; none are sent."
    retransmissions: Directions = Directions()
    signaling: Directions = Directions()
    "Messages."
    signaling_refused: Counts = field(default_factory=dict)
    "Messages not carried out, by reason: request, unreadable; and sockets closed for their frames: protocol."
    rate_limited: int = 0
    "Signalling messages refused."
    resumed: int = 0
    "Sessions that went on after their socket was lost."
    tokens_refused: Counts = field(default_factory=dict)
    "By error code."
    dtls_handshakes: Counts = field(default_factory=dict)
    "By result: ok, failed."
    http_requests: Mapping[tuple[str, str, str], int] = field(default_factory=dict)
    "By method, route (never a path) and status."
    http_connections: int = 0
    http_refused: Counts = field(default_factory=dict)
    "Connections by reason: total, address, late_head; requests of clients behind a proxy as well."

    decisions: Mapping[tuple[str, str], int] = field(default_factory=dict)
    "About participants' media, by kind and cause."
    client_rtt: Distribution = NOTHING
    "What browsers say themselves; seconds."
    client_jitter: Distribution = NOTHING
    client_loss: Distribution = NOTHING
    "Fraction 0 to 1 of the worst track, per report."
    client_freezes: int = 0
    "Pictures that stood still."
    client_frozen: float = 0.0
    "Seconds in which they did."

    rtt: Distribution = NOTHING
    jitter: Distribution = NOTHING
    loss: Distribution = NOTHING
    "Fraction 0 to 1 per report."
    forward_latency: Distribution = NOTHING
    join_latency: Distribution = NOTHING
    "Seconds from a connection's first description to its keys: ICE and DTLS."
    first_picture: Distribution = NOTHING
    "Seconds from a subscribing connection's first offer to the first picture on it."
    negotiation: Distribution = NOTHING
    "Seconds from an offer to its answer."
    loop_lag: Distribution = NOTHING
    loop_stalls: int = 0
    "Times that the event loop was blocked for half a second."

    loop_seconds: Mapping[str, float] = field(default_factory=dict)
    "Event-loop time charged to budgets, by source: media, signaling, unauthenticated."
    loop_throttled: Counts = field(default_factory=dict)
    "Inputs that found no loop time left, by source."
    loop_disconnects: int = 0
    "Participants disconnected for the loop time that they took."

    egress_jobs: int = 0
    "Rooms that are composed now."
    egress_frames: int = 0
    "Pictures composed."
    egress_frames_dropped: int = 0
    "Pictures that a mixer was too late for."
    egress_worker_restarts: int = 0
    "Workers that had to be replaced."
    egress_cpu: float = 0.0
    "Seconds of processor time of the workers."
    destinations: Counts = field(default_factory=dict)
    "Pushes of programmes by state."
    recordings: Counts = field(default_factory=dict)
    "Recordings under way, of programmes and of tracks, by state."


class Metrics:
    """The page that Prometheus scrapes. Its registry is its own, so two servers in one process do not meet in it."""

    def __init__(self, snapshot: Callable[[], Snapshot]) -> None:
        self._snapshot = snapshot
        self._process = ProcessCollector(registry=CollectorRegistry(auto_describe=False))

    def render(self) -> bytes:
        """Text format 1.0.0 (`CONTENT_TYPE`)."""
        return b"".join(self.parts())

    def parts(self) -> Iterator[bytes]:
        """The same in parts, each of which takes a fraction of a millisecond."""
        for family in families(self._snapshot()):
            yield generate_latest(_Only(family))
        for family in self._process.collect():
            yield generate_latest(_Only(family))


class _Only(CollectorRegistry):
    """A registry of one family."""

    def __init__(self, family: Metric) -> None:
        super().__init__(auto_describe=False)
        self._family = family

    def collect(self) -> Iterator[Metric]:
        yield self._family


def families(now: Snapshot) -> Iterator[Metric]:
    """A snapshot as metric families."""
    info = GaugeMetricFamily("sfu_node_info", "The running version; always 1.", labels=["version"])
    info.add_metric([now.version], 1)
    yield info
    yield _gauge("sfu_node_start_time_seconds", "When the server started, seconds since 1970.", now.started_at)
    yield _gauge("sfu_node_draining", "1 while the server takes no new rooms because it will stop.", now.draining)
    yield _gauge("sfu_capacity_used_ratio", "How full the server is, 0 to 1.", now.capacity_used)

    parts = GaugeMetricFamily("sfu_capacity_ratio", "How full each resource is, 0 to 1.", labels=["resource"])
    for resource, share in now.capacity.items():
        parts.add_metric([resource], share)
    yield parts
    yield _gauge(
        "sfu_memory_used_bytes",
        "Memory in use of what would run out first: the container's, the machine's, or node.memory.",
        now.memory_used_bytes,
    )
    yield _gauge("sfu_tasks", "Tasks of the event loop.", now.tasks)
    yield _gauge("sfu_memory_limit_bytes", "Where that memory ends.", now.memory_limit_bytes)
    yield _counters(
        "sfu_joins_refused_total", "Joins refused because the server is full or going.", "reason", now.joins_refused
    )
    if now.certificate_expires_at:
        yield _gauge(
            "sfu_tls_certificate_expiry_time_seconds",
            "When the certificate ends, seconds since 1970.",
            now.certificate_expires_at,
        )

    yield _gauge("sfu_rooms", "Open rooms.", now.rooms)
    yield _gauge("sfu_largest_room_participants", "Participants of the fullest room.", now.largest_room)
    yield _counter("sfu_rooms_created_total", "Rooms opened.", now.rooms_total)
    yield _gauge("sfu_participants", "People and programs in rooms.", now.participants)
    yield _counter("sfu_participants_joined_total", "Joins.", now.participants_total)
    yield _gauge("sfu_participants_waiting", "People in lobbies.", now.waiting)
    yield _gauges("sfu_participant_quality", "Participants by how well they are connected.", "quality", now.quality)
    yield _gauge("sfu_sessions", "Signalling sessions, connected or waiting for their client.", now.sessions)
    yield _gauge("sfu_signaling_sockets", "Connected WebSockets.", now.sockets)
    yield _gauges("sfu_peers", "Media connections.", "state", now.peers)
    yield _gauges("sfu_tracks", "Published tracks.", "kind", now.tracks)
    yield _gauges("sfu_subscriptions", "Subscriptions to tracks.", "kind", now.subscriptions)

    yield _directions("sfu_packets_total", "RTP packets received from and sent to clients.", now.packets)
    yield _directions("sfu_media_bytes_total", "Bytes of RTP received from and sent to clients.", now.bytes)
    yield _counters("sfu_packets_dropped_total", "Packets dropped.", "reason", now.dropped)
    yield _directions("sfu_nacks_total", "Packets asked for again by NACK.", now.nacks)
    yield _directions("sfu_plis_total", "Keyframe requests by PLI.", now.plis)
    yield _counters("sfu_firs_total", "Keyframe requests by FIR.", "direction", {"received": now.firs})
    yield _directions("sfu_retransmissions_total", "Packets sent again (RTX).", now.retransmissions)
    yield _counters("sfu_dtls_handshakes_total", "DTLS handshakes.", "result", now.dtls_handshakes)

    yield _directions("sfu_signaling_messages_total", "Signalling messages.", now.signaling)
    yield _counters(
        "sfu_signaling_refused_total",
        "Signalling messages not carried out; reason protocol: sockets closed for their frames.",
        "reason",
        now.signaling_refused,
    )
    yield _counter("sfu_signaling_rate_limited_total", "Signalling messages refused for their rate.", now.rate_limited)
    yield _counter("sfu_sessions_resumed_total", "Sessions that went on after their socket was lost.", now.resumed)
    yield _counters("sfu_tokens_refused_total", "Access tokens refused.", "reason", now.tokens_refused)
    requests = CounterMetricFamily("sfu_http_requests_total", "HTTP requests.", labels=["method", "route", "status"])
    for labels, count in now.http_requests.items():
        requests.add_metric(labels, count)
    yield requests
    yield _gauge("sfu_http_connections", "HTTP connections, WebSockets included.", now.http_connections)
    yield _counters(
        "sfu_http_connections_refused_total",
        "HTTP connections refused or closed: too many in all, or of one address; a request's head that came late.",
        "reason",
        now.http_refused,
    )

    decisions = CounterMetricFamily(
        "sfu_decisions_total", "Decisions about participants' media and their causes.", labels=["kind", "cause"]
    )
    for (kind, cause), count in now.decisions.items():
        decisions.add_metric([kind, cause], count)
    yield decisions
    yield _histogram("sfu_client_rtt_seconds", "Round-trip time as browsers report it.", now.client_rtt)
    yield _histogram("sfu_client_jitter_seconds", "Jitter of the worst track as browsers report it.", now.client_jitter)
    yield _histogram(
        "sfu_client_loss_ratio", "Fraction lost of the worst track as browsers report it.", now.client_loss
    )
    yield _counter("sfu_client_freezes_total", "Pictures that stood still, as browsers report it.", now.client_freezes)
    yield CounterMetricFamily(
        "sfu_client_frozen_seconds_total",
        "Seconds in which pictures stood still, as browsers report it.",
        value=now.client_frozen,
    )

    yield _histogram("sfu_rtt_seconds", "Round-trip time to clients, per report.", now.rtt)
    yield _histogram("sfu_jitter_seconds", "Interarrival jitter of received streams, per report.", now.jitter)
    yield _histogram("sfu_loss_ratio", "Fraction of packets lost, per report.", now.loss)
    yield _histogram("sfu_forward_latency_seconds", "From a packet's arrival to its last send.", now.forward_latency)
    yield _histogram(
        "sfu_join_latency_seconds",
        "From a media connection's first description to its keys (ICE and DTLS).",
        now.join_latency,
    )
    yield _histogram(
        "sfu_first_picture_seconds",
        "From a subscribing connection's first offer to the first picture on it.",
        now.first_picture,
    )
    yield _histogram("sfu_negotiation_seconds", "From an offer to its answer, by the client.", now.negotiation)
    yield _counter(
        "sfu_loop_stalls_total", "Times that the event loop was blocked; the log says where.", now.loop_stalls
    )
    yield _histogram("sfu_loop_lag_seconds", "How late the event loop ran, sampled four times a second.", now.loop_lag)

    seconds = CounterMetricFamily(
        "sfu_loop_budget_seconds",
        "Event-loop time charged to participants (media, signaling) and to unauthenticated sources (unauthenticated).",
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
        "Participants disconnected because they kept taking more than their share of the event loop.",
        now.loop_disconnects,
    )

    yield _gauge("sfu_egress_jobs", "Rooms that are composed for viewers, recordings or pushes.", now.egress_jobs)
    yield _counter("sfu_egress_frames_total", "Pictures composed.", now.egress_frames)
    yield _counter(
        "sfu_egress_frames_dropped_total", "Pictures that a mixer was too late for.", now.egress_frames_dropped
    )
    yield _counter("sfu_egress_worker_restarts_total", "Mixers that had to be replaced.", now.egress_worker_restarts)
    yield CounterMetricFamily("sfu_egress_cpu_seconds_total", "Processor time of the mixers.", value=now.egress_cpu)
    yield _gauges("sfu_egress_destinations", "Pushes of programmes.", "state", now.destinations)
    yield _gauges(
        "sfu_recordings", "Recordings under way; one that is interrupted cannot be written.", "state", now.recordings
    )


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
