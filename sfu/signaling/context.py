"""Services and counters that all sessions of a server share."""

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from sfu.auth.tokens import Claims
from sfu.forwarding.decision_log import Cause, DecisionKind
from sfu.forwarding.loop_budget import LoopBudget, make_unauthenticated_budget
from sfu.rooms.registry import Rooms
from sfu.rooms.room import Room
from sfu.signaling.messages import IceServer
from sfu.signaling.outbox import Flusher
from sfu.signaling.ports import EgressPort, MediaEdge, ResumeKeys
from sfu.signaling.settings import Settings
from sfu.telemetry.histogram import RATIOS, Histogram
from sfu.telemetry.join_trace import JoinTraces


@dataclass(frozen=True, slots=True)
class AccessControl:
    """Authentication and admission. All functions are synchronous."""

    authenticate: Callable[[str], Claims]
    "Raises NotAuthorized."
    revoke: Callable[[Claims], None]
    "Called when a participant is kicked."
    admit: Callable[[str], None] = lambda _: None
    "Checks whether this server takes a new participant of the room (empty: not known yet). Raises AtCapacity."
    ice_servers: Callable[[Claims], Sequence[IceServer]] = lambda _: ()
    "ICE servers for a participant, e.g. a TURN server with temporary credentials."
    is_revoked: Callable[[Claims], bool] = lambda _: False
    "Whether `revoke` was called for this token or a later one of its identity and room."
    check_home: Callable[[str], None] | None = None
    "Raises AtCapacity (`cut_off`) if another node may decide about the room. None: this is the only node."


@dataclass(slots=True)
class ClientStats:
    """Reports of all clients' browsers, aggregated."""

    rtt: Histogram = field(default_factory=Histogram)
    jitter: Histogram = field(default_factory=Histogram)
    loss: Histogram = field(default_factory=lambda: Histogram(RATIOS))
    freezes: int = 0
    frozen: float = 0.0
    "Seconds."


@dataclass(slots=True)
class Counters:
    """Totals since the start, for telemetry."""

    received: int = 0
    "Messages from clients."
    refused: int = 0
    "Requests answered with an error."
    rate_limited: int = 0
    invalid: int = 0
    "Messages that did not decode."
    violations: int = 0
    "Sockets closed because of a violation of RFC 6455 or of a frame limit."
    joins: int = 0
    resumes: int = 0
    timeouts: int = 0
    "Sessions that were not resumed in time."
    rebuilds: int = 0
    "Participants that returned after this node took their room over."
    slow_consumers: int = 0
    overloads: int = 0
    "Participants disconnected because they exceeded their loop budget."
    loop_seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    "Loop time of ended sessions, by source: media, signaling."
    throttled: Counter[str] = field(default_factory=Counter)
    "Inputs of ended sessions that found the loop budget exhausted, by source."
    data_dropped: int = 0
    "Data-channel messages that were not relayed."
    decisions: Counter[tuple[DecisionKind, Cause]] = field(default_factory=Counter)
    "Entries of all participants' decision logs."
    client_stats: ClientStats = field(default_factory=ClientStats)


@dataclass(slots=True)
class Context:
    settings: Settings
    rooms: Rooms
    access: AccessControl
    endpoint: MediaEdge
    flusher: Flusher
    now: Callable[[], float]
    "Monotonic seconds."
    ids: Callable[[str], str]
    secret: Callable[[], str]
    "Returns a new 128-bit secret."
    counters: Counters = field(default_factory=Counters)
    draining: bool = False
    drain_ends_at: float | None = None
    "Monotonic seconds. While it is set, open sessions continue until then."
    cpu: Callable[[], float] = time.thread_time
    "CPU seconds of the event loop's thread."
    unauthenticated_budget: LoopBudget = field(default_factory=make_unauthenticated_budget)
    "Loop time of sockets that have not joined."
    egress_jobs: EgressPort[Room] | None = None
    resume_keys: ResumeKeys | None = None
    "None: each key is a new secret."
    join_traces: JoinTraces = field(default_factory=JoinTraces)
