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
from sfu.forwarding.loop_budget import LoopBudget, strangers_budget
from sfu.rooms.registry import Rooms
from sfu.signaling.context import Access, Counters, Environment
from sfu.signaling.messages import Draining
from sfu.signaling.outbox import Flusher
from sfu.signaling.ports import MediaEdge, Programmes
from sfu.signaling.session import State
from sfu.signaling.settings import Settings
from sfu.signaling.timers import sweep
from sfu.signaling.websocket import WebSockets
from sfu.telemetry.join_trace import Journeys

logger = logging.getLogger(__name__)

LEVELS = 0.1
"""Seconds between looks at the audio levels: the detector's clock."""
SILENCE = 0.5
"""The same while nothing is heard anywhere: an idle server sleeps."""
SWEEP = 1.0
"""Seconds between looks at silent sockets, absent sessions and idle rooms."""
QUALITY = 2.0
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
        access: Access,
        edge: MediaEdge,
        origins: Origins,
        *,
        now: Callable[[], float] = time.monotonic,
        programmes: Programmes | None = None,
        journeys: Journeys | None = None,
        strangers: LoopBudget | None = None,
        addresses: ClientAddresses | None = None,
    ) -> None:
        self._env = Environment(
            settings=settings,
            rooms=rooms,
            access=access,
            edge=edge,
            flusher=Flusher(settings.coalesce),
            now=now,
            ids=random_id,
            secret=lambda: secrets.token_urlsafe(16),
            programmes=programmes,
            journeys=journeys or Journeys(),
            strangers=strangers or strangers_budget(),
        )
        self._sockets = WebSockets(self._env, origins, addresses)

    def routes(self) -> list[web.RouteDef]:
        return [web.get("/ws", self._sockets.handle)]

    def statistics(self) -> Statistics:
        env = self._env
        loop_seconds = defaultdict(float, env.counters.loop_seconds)
        throttled = Counter(env.counters.throttled)
        for session in env.sessions.values():
            for source, budget in session.budgets.items():
                loop_seconds[source] += budget.used
                throttled[source] += budget.throttled
        return Statistics(
            sockets=self._sockets.open,
            sessions=len(env.sessions),
            waiting=sum(session.state is State.WAITING for session in env.sessions.values()),
            messages_sent=env.flusher.messages,
            frames_sent=env.flusher.frames,
            loop_seconds=loop_seconds,
            throttled=throttled,
            counters=env.counters,
        )

    async def run(self) -> None:
        """The timers, until cancelled."""
        due_sweep = due_quality = self._env.now()
        interval = min(SWEEP, self._env.settings.heartbeat / 4)
        heard = False
        while True:
            await asyncio.sleep(min(LEVELS if heard else SILENCE, interval))
            now = self._env.now()
            try:
                heard = self._env.rooms.observe_levels(now)
                if now >= due_sweep:
                    due_sweep = now + interval
                    sweep(self._env, now, time.time())
                    self._env.rooms.handle_timer(now)
                if now >= due_quality:
                    due_quality = now + QUALITY
                    self._env.rooms.observe_quality()
            except Exception:
                # The root of this task: a bug in one round must not be the end of all heartbeats.
                logger.exception("signalling timer failed")

    def announce_drain(self, seconds: float, message: str = "The server is going down for maintenance.") -> None:
        """Tells everybody, and whoever resumes from now on, how long it goes on. Sessions and resumes stay possible."""
        self._env.drain_ends_at = self._env.now() + seconds
        for session in list(self._env.sessions.values()):
            session.send(Draining(message=message, seconds=seconds))

    async def close(self, message: str = "The server is going down for maintenance.") -> None:
        """Drains: nobody comes in any more, everybody is told to join elsewhere. Returns when the sockets are closed,
        or after twice the close deadline. Idempotent."""
        self._env.draining = True
        for session in list(self._env.sessions.values()):
            session.dismiss("draining", message)
        with suppress(TimeoutError):
            async with asyncio.timeout(2 * self._env.settings.close_deadline):
                await self._sockets.all_closed.wait()
