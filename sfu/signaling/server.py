"""Signalling as the application sees it: wiring of the parts, the one timer of all sessions, and the drain.

One timer for thousands of sockets: an idle one costs a comparison a second and a ping per heartbeat.
"""

import asyncio
import logging
import secrets
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass

from aiohttp import web

from sfu.auth.addresses import ClientAddresses
from sfu.auth.origins import Origins
from sfu.forwarding.loop_budget import LoopBudget, make_unauthenticated_budget
from sfu.rooms.registry import Rooms
from sfu.signaling.context import AccessControl, Context, Counters
from sfu.signaling.messages import Draining
from sfu.signaling.outbox import Flusher
from sfu.signaling.ports import EgressPort, MediaEdge
from sfu.signaling.session import State
from sfu.signaling.settings import Settings
from sfu.signaling.timers import check_sessions
from sfu.signaling.websocket import WebSockets
from sfu.telemetry.join_trace import JoinTraces

logger = logging.getLogger(__name__)

LEVELS_INTERVAL = 0.1
"""Seconds between looks at the audio levels: the detector's clock."""
IDLE_LEVELS_INTERVAL = 0.5
"""The same while nothing is heard anywhere: an idle server sleeps."""
CHECK_INTERVAL = 1.0
"""Seconds between looks at silent sockets, absent sessions and idle rooms."""
QUALITY_INTERVAL = 2.0
"""Seconds between judgements of everybody's connection."""


@dataclass(frozen=True, slots=True)
class Statistics:
    """A snapshot for telemetry. The rest are totals since the start."""

    sockets: int
    sessions: int
    "With or without a socket, the waiting ones included."
    waiting: int
    messages_sent: int
    frames_sent: int
    loop_seconds: Mapping[str, float]
    "Loop time charged to participants, by source: media, signaling."
    throttled: Mapping[str, int]
    "Inputs that found no loop time left, by source."
    counters: Counters


def random_id(prefix: str) -> str:
    """72 random bits: not to be guessed within a room's life, short on the wire."""
    return f"{prefix}_{secrets.token_urlsafe(9)}"


class Signaling:
    def __init__(
        self,
        settings: Settings,
        rooms: Rooms,
        access: AccessControl,
        endpoint: MediaEdge,
        origins: Origins,
        *,
        now: Callable[[], float] = time.monotonic,
        egress_jobs: EgressPort | None = None,
        join_traces: JoinTraces | None = None,
        unauthenticated_budget: LoopBudget | None = None,
        addresses: ClientAddresses | None = None,
    ) -> None:
        self._context = Context(
            settings=settings,
            rooms=rooms,
            access=access,
            endpoint=endpoint,
            flusher=Flusher(settings.coalesce),
            now=now,
            ids=random_id,
            secret=lambda: secrets.token_urlsafe(16),
            egress_jobs=egress_jobs,
            join_traces=join_traces or JoinTraces(),
            unauthenticated_budget=unauthenticated_budget or make_unauthenticated_budget(),
        )
        self._sockets = WebSockets(self._context, origins, addresses)

    def routes(self) -> list[web.RouteDef]:
        return [web.get("/ws", self._sockets.handle)]

    def statistics(self) -> Statistics:
        context = self._context
        loop_seconds = defaultdict(float, context.counters.loop_seconds)
        throttled = Counter(context.counters.throttled)
        for session in context.sessions.values():
            for source, budget in session.budgets.items():
                loop_seconds[source] += budget.used
                throttled[source] += budget.throttled
        return Statistics(
            sockets=self._sockets.open,
            sessions=len(context.sessions),
            waiting=sum(session.state is State.WAITING for session in context.sessions.values()),
            messages_sent=context.flusher.messages,
            frames_sent=context.flusher.frames,
            loop_seconds=loop_seconds,
            throttled=throttled,
            counters=context.counters,
        )

    async def run(self) -> None:
        """The timers, until cancelled."""
        due_sweep = due_quality = self._context.now()
        interval = min(CHECK_INTERVAL, self._context.settings.heartbeat / 4)
        heard = False
        while True:
            await asyncio.sleep(min(LEVELS_INTERVAL if heard else IDLE_LEVELS_INTERVAL, interval))
            now = self._context.now()
            try:
                heard = self._context.rooms.observe_levels(now)
                if now >= due_sweep:
                    due_sweep = now + interval
                    check_sessions(self._context, now, time.time())
                    self._context.rooms.handle_timer(now)
                if now >= due_quality:
                    due_quality = now + QUALITY_INTERVAL
                    self._context.rooms.observe_quality()
            except Exception:
                # The root of this task: a bug in one round must not be the end of all heartbeats.
                logger.exception("signalling timer failed")

    def announce_drain(self, seconds: float, message: str = "The server is going down for maintenance.") -> None:
        """Tells everybody, and whoever resumes from now on, how long it goes on. Sessions and resumes stay possible."""
        self._context.drain_ends_at = self._context.now() + seconds
        for session in list(self._context.sessions.values()):
            session.send(Draining(message=message, seconds=seconds))

    async def close(self, message: str = "The server is going down for maintenance.") -> None:
        """Drains: nobody comes in any more, everybody is told to join elsewhere. Returns when the sockets are closed,
        or after twice the close deadline. Idempotent."""
        self._context.draining = True
        for session in list(self._context.sessions.values()):
            session.disconnect("draining", message)
        with suppress(TimeoutError):
            async with asyncio.timeout(2 * self._context.settings.close_deadline):
                await self._sockets.all_closed.wait()
