"""Status of this node: admission of rooms and participants, readiness, and the collectors of its metrics."""

import asyncio
import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress

from sfu.admin.collectors import NodeCollector
from sfu.egress.job import EgressJob
from sfu.errors import AtCapacity, NotFound
from sfu.resources import file_descriptors
from sfu.resources.capacity import QUOTA_FILE, Capacity, Usage, available_cores
from sfu.resources.memory import MemoryUsage, measured, resident_bytes
from sfu.resources.settings import Settings
from sfu.rooms.registry import Rooms
from sfu.signaling.server import Signaling
from sfu.telemetry.metrics import Collector
from sfu.transport.webrtc_server import WebRtcServer

SAMPLE_INTERVAL = 5.0
"""Seconds between samples of the load and of the collectors."""
DRAIN_POLL_INTERVAL = 0.25
"""Seconds between checks whether a draining server is empty."""
MEMORY_INTERVAL = 0.1
"""Seconds between memory measurements: one costs 0.5 ms, and about twelve participants can join in this time."""
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
        collectors: Iterable[Collector] = (),
        egress_jobs: Callable[[], Iterable[EgressJob]] = tuple,
    ) -> None:
        """`collectors`: one per subsystem; the node adds its own."""
        self.collectors = (NodeCollector(self), *collectors)
        self._egress_jobs = egress_jobs
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
        self.started_at = time.time()
        self.draining = False

    async def run(self) -> None:
        """Calls `sample` periodically until cancelled."""
        while True:
            await asyncio.sleep(SAMPLE_INTERVAL)
            self.sample()

    def sample(self) -> None:
        """Updates load and collectors. Must run in the event loop's thread, whose CPU time it reads."""
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
        for collector in self.collectors:
            collector.sample()

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
        return min(1.0, max(self._capacity.used, self._rooms_used()))

    def capacity(self) -> Mapping[str, float]:
        """Used fraction of each resource, 0 to 1."""
        return {
            "cpu": self._capacity.cpu,
            "network": self._capacity.network,
            "memory": self._capacity.memory.share,
            "descriptors": self._capacity.descriptors,
            "rooms": self._rooms_used(),
        }

    @property
    def memory(self) -> MemoryUsage:
        """As of the last join or sample."""
        return self._capacity.memory

    @property
    def joins_refused(self) -> Mapping[str, int]:
        """Rejected joins by reason."""
        return {reason: self._refused[reason] for reason in ("capacity", "draining")}

    async def emptied(self, timeout: float) -> None:
        """Waits until no participant is in a room, in a lobby or able to resume, or until `timeout` seconds have passed."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                while self._occupied():  # noqa: ASYNC110  # four checks a second are cheaper than an event from every session
                    await asyncio.sleep(DRAIN_POLL_INTERVAL)

    def _occupied(self) -> bool:
        return bool(self._signaling.statistics().sessions) or any(room.occupied for room in self._rooms.list())

    def _rooms_used(self) -> float:
        return len(self._rooms) / self._rooms.settings.max_rooms

    def _measure_memory(self) -> None:
        """Updates memory and file descriptor usage, at most once per MEMORY_INTERVAL."""
        now = time.monotonic()
        if now - self._memory_measured_at < MEMORY_INTERVAL:
            return
        self._memory_measured_at = now
        statuses = (job.status for job in self._egress_jobs())
        own = resident_bytes() + sum(status.memory for status in statuses if status is not None)
        self._capacity.update_memory(measured(own, self._memory_allowed), file_descriptors.used())


def _cores() -> float:
    machine = len(os.sched_getaffinity(0))
    try:
        return available_cores(QUOTA_FILE.read_text(), machine)
    except OSError:
        return float(machine)
