"""What all sessions of a server share."""

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sfu.auth.tokens import Claims
from sfu.forwarding.decision_log import Cause, DecisionKind
from sfu.forwarding.loop_budget import LoopBudget, make_unauthenticated_budget
from sfu.rooms.registry import Rooms
from sfu.signaling.messages import IceServer
from sfu.signaling.outbox import Flusher
from sfu.signaling.ports import EgressPort, MediaEdge
from sfu.signaling.settings import Settings
from sfu.telemetry.histogram import RATIOS, Histogram
from sfu.telemetry.join_trace import JoinTraces

if TYPE_CHECKING:
    from sfu.signaling.session import Session


@dataclass(frozen=True, slots=True)
class AccessControl:
    """The doors: who may come in. Both raise, or answer, without waiting."""

    authenticate: Callable[[str], Claims]
    "Raises NotAuthorized."
    revoke: Callable[[Claims], None]
    "Called on a kick."
    admit: Callable[[str], None] = lambda _: None
    "Whether a new participant of this room (empty: not known yet) has a place on this server. Raises AtCapacity."
    ice_servers: Callable[[Claims], Sequence[IceServer]] = lambda _: ()
    "What a participant is told at join, e.g. a TURN server with credentials made for it."


@dataclass(slots=True)
class ClientStats:
    """What clients' browsers say, all of them together."""

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
    "Messages of clients."
    refused: int = 0
    "Requests answered with an error."
    rate_limited: int = 0
    invalid: int = 0
    "Messages that did not parse."
    violations: int = 0
    "Sockets closed because they broke RFC 6455 or a limit of frames."
    joins: int = 0
    resumes: int = 0
    timeouts: int = 0
    "Sessions that did not come back in time."
    slow_consumers: int = 0
    overloads: int = 0
    "Participants disconnected for the loop time that they took."
    loop_seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    "Loop time of sessions that ended, by source: media, signaling."
    throttled: Counter[str] = field(default_factory=Counter)
    "Inputs of sessions that ended which found no loop time left, by source."
    data_dropped: int = 0
    "Data-channel messages that were not relayed."
    decisions: Counter[tuple[DecisionKind, Cause]] = field(default_factory=Counter)
    "About participants' media; their diaries count here."
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
    "A fresh 128-bit secret."
    sessions: dict[str, "Session"] = field(default_factory=dict)
    "By resume key."
    counters: Counters = field(default_factory=Counters)
    draining: bool = False
    drain_ends_at: float | None = None
    "Monotonic seconds; while set, open meetings go on until then."
    cpu: Callable[[], float] = time.thread_time
    "CPU seconds of the event loop's thread."
    unauthenticated_budget: LoopBudget = field(default_factory=make_unauthenticated_budget)
    "Loop time of sockets that have not joined."
    egress_jobs: EgressPort | None = None
    join_traces: JoinTraces = field(default_factory=JoinTraces)
