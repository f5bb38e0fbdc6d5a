"""Status of this node: admission of rooms and participants, readiness, and a snapshot of all counters for metrics."""

import asyncio
import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress

from sfu import __version__
from sfu.egress.counters import EgressCounters
from sfu.egress.job import EgressJob
from sfu.egress.jobs import RECORDING_STATES
from sfu.errors import AtCapacity, NotFound
from sfu.resources import file_descriptors
from sfu.resources.capacity import QUOTA_FILE, Capacity, Usage, available_cores
from sfu.resources.memory import measured, resident_bytes
from sfu.resources.settings import Settings
from sfu.rooms.registry import Rooms
from sfu.rooms.room import Room
from sfu.signaling.server import Signaling
from sfu.telemetry.certificate import expires_at
from sfu.telemetry.histogram import RATIOS, Histogram
from sfu.telemetry.join_trace import JoinTraces
from sfu.telemetry.loop_monitor import LoopMonitor
from sfu.telemetry.metrics import Directions, Snapshot
from sfu.transport.webrtc_server import WebRtcServer

SAMPLE_INTERVAL = 5.0
"""Seconds between samples of round-trip time, loss and jitter."""
DRAIN_POLL_INTERVAL = 0.25
"""Seconds between checks whether a draining server is empty."""
MEMORY_INTERVAL = 0.1
"""Seconds between memory measurements: one costs 0.5 ms, and about twelve participants can join in this time."""
STATES = ("connecting", "live", "waiting", "failed")
"""States of RTMP destinations."""
OVERHEAD_BYTES = 28
"""IPv4 and UDP headers of a packet; they count towards the network load."""


class Node:
    """Implements the API's NodePort."""

    def __init__(
        self,
        settings: Settings,
        webrtc_server: WebRtcServer,
        rooms: Rooms,
        signaling: Signaling,
        monitor: LoopMonitor,
        *,
        join_traces: JoinTraces | None = None,
        egress_jobs: Callable[[], Iterable[EgressJob]] = tuple,
        recorded: Callable[[], Mapping[str, int]] = dict,
        certificate: str = "",
        stalls: Callable[[], int] = int,
    ) -> None:
        """`recorded`: number of active recordings by state. `certificate`: path of the server's TLS certificate, or empty.
        `stalls`: number of event loop stalls."""
        self._stalls = stalls
        self._join_traces = join_traces or JoinTraces()
        self._egress_jobs = egress_jobs
        self._recorded = recorded
        self._certificate = certificate
        self._certificate_expires_at = 0.0
        self._egress_counters = EgressCounters()
        self._refused: Counter[str] = Counter()
        self._capacity = Capacity(
            limit=settings.capacity_limit,
            bandwidth=settings.bandwidth,
            cores=_cores(),
            memory_limit=settings.memory_limit,
        )
        self._memory_allowed = settings.memory
        self._memory_measured_at = -MEMORY_INTERVAL
        self._webrtc_server = webrtc_server
        self._rooms = rooms
        self._signaling = signaling
        self._monitor = monitor
        self._started = time.time()
        self._rtt, self._loss, self._jitter = Histogram(), Histogram(RATIOS), Histogram()
        self._forward, self._join = Histogram(), Histogram()
        self.draining = False

    async def run(self) -> None:
        """Calls `sample` periodically until cancelled, so that the packet path does not have to update histograms."""
        while True:
            await asyncio.sleep(SAMPLE_INTERVAL)
            self.sample()

    def sample(self) -> None:
        """Updates load, histograms and egress counters. Must run in the event loop's thread, whose CPU time it reads."""
        totals = self._webrtc_server.engine.totals()
        self._capacity.observe(
            Usage(
                time.monotonic(),
                time.thread_time(),
                time.process_time(),
                totals["bytes_in"] + OVERHEAD_BYTES * totals["packets_in"],
                totals["bytes_out"] + OVERHEAD_BYTES * totals["packets_out"],
            )
        )
        self._measure_memory()
        self._egress_counters.observe(self._egress_jobs())
        if self._certificate:
            with suppress(OSError, ValueError):
                self._certificate_expires_at = expires_at(self._certificate)
        for samples, histogram in (
            (self._webrtc_server.port.latencies, self._forward),
            (self._webrtc_server.connect_times, self._join),
        ):
            while samples:
                histogram.observe(samples.popleft())
        for peer in self._webrtc_server.engine.peers.values():
            if peer.clock.rtt is not None:
                self._rtt.observe(peer.clock.rtt)
            for track in peer.tracks.values():
                for encoding in track.encodings.values():
                    if encoding.alive:
                        self._loss.observe(encoding.fraction_lost)
                        self._jitter.observe(encoding.jitter / track.clock_rate)

    def not_ready(self) -> str:
        """Why load balancers should not use this node; empty: ready.

        A full node stays ready: its participants may resume, viewers continue to watch, and refused clients get the
        reason, which a load balancer without a ready node could not give.
        """
        return "draining" if self.draining else ""

    def no_new_rooms(self) -> str:
        """Why this node refuses new rooms; empty: it accepts them."""
        if self.draining:
            return "draining"
        if len(self._rooms) >= self._rooms.settings.max_rooms:
            return "room limit reached"
        self._measure_memory()
        return self._capacity.refusal

    def admit(self, room: str) -> None:
        """Checks whether a new participant may join. `room`: empty if not known yet. Raises AtCapacity (HTTP 503)."""
        self._measure_memory()
        if self._capacity.refusal:
            self._refused["capacity"] += 1
            raise AtCapacity(f"This server is full: {self._capacity.refusal}. Try again later.")
        if self.draining and room:
            try:
                self._rooms.find(room)
            except NotFound:
                self._refused["draining"] += 1
                raise AtCapacity("This server is shutting down. Use another server.", code="draining") from None

    def admit_egress(self) -> None:
        """Checks the memory for another worker, which needs as much as dozens of participants. Raises AtCapacity."""
        self._measure_memory()
        if self._capacity.memory_refusal:
            raise AtCapacity(f"This server has no memory for another egress job: {self._capacity.memory_refusal}.")

    def capacity_used(self) -> float:
        """0 to 1: the highest used fraction of CPU, network, memory, file descriptors and the room limit."""
        return min(1.0, max(self._capacity.used, len(self._rooms) / self._rooms.settings.max_rooms))

    async def emptied(self, timeout: float) -> None:
        """Waits until no participant is in a room, in a lobby or able to resume, or until `timeout` seconds have passed."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                while self._occupied():  # noqa: ASYNC110  # four checks a second are cheaper than an event from every session
                    await asyncio.sleep(DRAIN_POLL_INTERVAL)

    def _occupied(self) -> bool:
        return bool(self._signaling.statistics().sessions) or any(room.occupied for room in self._rooms.list())

    def snapshot(self) -> Snapshot:
        engine, port = self._webrtc_server.engine, self._webrtc_server.port
        statistics = self._signaling.statistics()
        counters = statistics.counters
        rooms = self._rooms.list()
        totals = self._webrtc_server.engine.totals()
        tracks: Counter[str] = Counter()
        subscriptions: Counter[str] = Counter()
        for peer in engine.peers.values():
            for track in peer.tracks.values():
                tracks[track.kind] += 1
                subscriptions[track.kind] += len(track.down_tracks)
        dropped = Counter(port.dropped) + engine.dropped
        dropped["unrouted"] += totals["unrouted"]
        return Snapshot(
            version=__version__,
            started_at=self._started,
            draining=self.draining,
            capacity_used=self.capacity_used(),
            capacity={
                "cpu": self._capacity.cpu,
                "network": self._capacity.network,
                "memory": self._capacity.memory.share,
                "descriptors": self._capacity.descriptors,
                "rooms": len(rooms) / self._rooms.settings.max_rooms,
            },
            tasks=_tasks(),
            memory_limit_bytes=self._capacity.memory.limit,
            memory_used_bytes=self._capacity.memory.used,
            joins_refused={reason: self._refused[reason] for reason in ("capacity", "draining")},
            certificate_expires_at=self._certificate_expires_at,
            rooms=len(rooms),
            largest_room=max((len(room.members) for room in rooms), default=0),
            rooms_total=self._rooms.opened,
            participants=sum(len(room.members) for room in rooms),
            participants_total=counters.joins,
            waiting=statistics.waiting,
            quality=_qualities(rooms),
            sessions=statistics.sessions,
            sockets=statistics.sockets,
            peers=dict(Counter(connection.state.name.lower() for connection in self._webrtc_server.connections)),
            tracks=dict(tracks),
            subscriptions=dict(subscriptions),
            packets=Directions(totals["packets_in"], totals["packets_out"]),
            bytes=Directions(totals["bytes_in"], totals["bytes_out"]),
            dropped=dict(dropped),
            nacks=Directions(totals["nacks_received"], totals["nacks_sent"]),
            plis=Directions(totals["keyframe_requests_received"] - engine.firs_received, engine.plis_sent),
            firs=engine.firs_received,
            retransmissions=Directions(0, totals["retransmitted"]),
            signaling=Directions(counters.received, statistics.messages_sent),
            signaling_refused={
                "request": counters.refused,
                "unreadable": counters.invalid,
                "protocol": counters.violations,
            },
            rate_limited=counters.rate_limited,
            resumed=counters.resumes,
            dtls_handshakes={
                "ok": self._webrtc_server.handshakes["connected"],
                "failed": self._webrtc_server.handshakes["failed"],
            },
            decisions={(kind.value, cause.value): count for (kind, cause), count in counters.decisions.items()},
            client_rtt=counters.client_stats.rtt.distribution(),
            client_jitter=counters.client_stats.jitter.distribution(),
            client_loss=counters.client_stats.loss.distribution(),
            client_freezes=counters.client_stats.freezes,
            client_frozen=counters.client_stats.frozen,
            rtt=self._rtt.distribution(),
            jitter=self._jitter.distribution(),
            loss=self._loss.distribution(),
            forward_latency=self._forward.distribution(),
            join_latency=self._join.distribution(),
            first_picture=self._join_traces.first_picture.distribution(),
            negotiation=self._join_traces.negotiation.distribution(),
            loop_lag=self._monitor.lag,
            loop_stalls=self._stalls(),
            loop_seconds={**statistics.loop_seconds, "unauthenticated": port.unauthenticated_budget.used},
            loop_throttled={**statistics.throttled, "unauthenticated": port.unauthenticated_budget.throttled},
            loop_disconnects=counters.overloads,
            egress_jobs=self._egress_counters.running,
            egress_frames=self._egress_counters.total.ticks,
            egress_frames_dropped=self._egress_counters.total.dropped,
            egress_worker_restarts=self._egress_counters.total.restarts,
            egress_cpu=self._egress_counters.total.cpu,
            destinations={state: self._egress_counters.destinations[state] for state in STATES},
            recordings={state: self._recorded().get(state, 0) for state in RECORDING_STATES},
        )

    def _measure_memory(self) -> None:
        """Updates memory and file descriptor usage, at most once per MEMORY_INTERVAL."""
        now = time.monotonic()
        if now - self._memory_measured_at < MEMORY_INTERVAL:
            return
        self._memory_measured_at = now
        statuses = (job.status for job in self._egress_jobs())
        own = resident_bytes() + sum(status.memory for status in statuses if status is not None)
        self._capacity.update_memory(measured(own, self._memory_allowed), file_descriptors.used())


def _qualities(rooms: Iterable[Room]) -> dict[str, int]:
    counts = Counter(quality for room in rooms for quality in room.quality.known.values())
    return {quality: counts[quality] for quality in ("excellent", "good", "poor", "lost")}


def _tasks() -> int:
    try:
        return len(asyncio.all_tasks())
    except RuntimeError:  # no running event loop
        return 0


def _cores() -> float:
    machine = len(os.sched_getaffinity(0))
    try:
        return available_cores(QUOTA_FILE.read_text(), machine)
    except OSError:
        return float(machine)
