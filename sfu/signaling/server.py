"""The signalling server: wires its parts, runs the timer of all sessions, and drains.

A single timer serves all sockets. An idle socket costs one comparison per second and one ping per heartbeat.
"""

import asyncio
import logging
import secrets
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain

from aiohttp import web

from sfu.auth.addresses import ClientAddresses
from sfu.auth.origins import Origins
from sfu.forwarding.loop_budget import LoopBudget, make_unauthenticated_budget
from sfu.rooms.registry import Rooms
from sfu.rooms.room import Room
from sfu.signaling.context import AccessControl, Context, Counters
from sfu.signaling.http_resources import HttpResources
from sfu.signaling.http_sessions import HttpSessions
from sfu.signaling.ice_servers import IceServerUpdates
from sfu.signaling.json_dialect import JsonDialect
from sfu.signaling.landing import Landing
from sfu.signaling.messages import Draining
from sfu.signaling.outbox import Flusher
from sfu.signaling.ports import EgressPort, MediaEdge, ResumeKeys
from sfu.signaling.session_state import State
from sfu.signaling.sessions import Sessions
from sfu.signaling.settings import Settings
from sfu.signaling.websocket import WebSockets
from sfu.signaling.whep import WhepRoutes
from sfu.signaling.whep_viewers import WhepViewers
from sfu.signaling.whip import WhipRoutes
from sfu.telemetry.join_trace import JoinTraces

logger = logging.getLogger(__name__)

LEVELS_INTERVAL = 0.1
"""Seconds between observations of audio levels, the clock of the speaker detector."""
IDLE_LEVELS_INTERVAL = 0.5
"""The same while no room has audio, so that an idle server sleeps."""
CHECK_INTERVAL = 1.0
"""Seconds between checks of sessions and idle rooms."""
QUALITY_INTERVAL = 2.0
"""Seconds between assessments of connection quality."""


@dataclass(frozen=True, slots=True)
class Statistics:
    """A snapshot for telemetry. The values from `messages_sent` on are totals since the start."""

    sockets: int
    sessions: int
    "With or without a socket, including waiting ones."
    waiting: int
    http_sessions: Mapping[str, int]
    "WHIP and WHEP sessions, by protocol."
    messages_sent: int
    frames_sent: int
    loop_seconds: Mapping[str, float]
    "Loop time charged to participants, by source: media, signaling."
    throttled: Mapping[str, int]
    "Inputs that found the loop budget exhausted, by source."
    counters: Counters


def random_id(prefix: str) -> str:
    """72 random bits: short, and not guessable within the lifetime of a room."""
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
        egress_jobs: EgressPort[Room] | None = None,
        join_traces: JoinTraces | None = None,
        unauthenticated_budget: LoopBudget | None = None,
        addresses: ClientAddresses | None = None,
        resume_keys: ResumeKeys | None = None,
        landing: Landing | None = None,
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
            resume_keys=resume_keys,
        )
        self._sessions = Sessions(self._context)
        self._ice_server_updates = IceServerUpdates(access.ice_servers)
        addresses = addresses or ClientAddresses(any_peer=settings.trust_forwarded_for)
        self._sockets = WebSockets(self._sessions, [JsonDialect()], origins, addresses, landing)
        self._http_sessions = HttpSessions(self._context)
        self._whep_viewers = WhepViewers(settings.max_viewers_per_identity)
        self._origins = origins
        self._addresses = addresses

    def routes(self, base_path: str = "") -> list[web.RouteDef]:
        """`base_path`: path prefix of the server behind a proxy."""
        resources = HttpResources(self._context, self._http_sessions, self._origins, self._addresses, base_path)
        return [
            web.get("/ws", self._sockets.handle),
            *WhipRoutes(resources).routes(),
            *WhepRoutes(resources, self._whep_viewers).routes(),
        ]

    @property
    def joins(self) -> int:
        """Joins since the start."""
        return self._context.counters.joins

    def statistics(self) -> Statistics:
        context = self._context
        loop_seconds = defaultdict(float, context.counters.loop_seconds)
        throttled = Counter(context.counters.throttled)
        budgets: list[Mapping[str, LoopBudget]] = [session.limits.budgets for session in self._sessions]
        budgets += [session.budgets for session in self._http_sessions]
        for source, budget in chain.from_iterable(each.items() for each in budgets):
            loop_seconds[source] += budget.used
            throttled[source] += budget.throttled
        return Statistics(
            sockets=self._sockets.open,
            sessions=len(self._sessions),
            waiting=sum(session.state is State.WAITING for session in self._sessions),
            http_sessions=self._http_sessions.by_protocol(),
            messages_sent=context.flusher.messages,
            frames_sent=context.flusher.frames,
            loop_seconds=loop_seconds,
            throttled=throttled,
            counters=context.counters,
        )

    async def run(self) -> None:
        """Runs the timers until cancelled."""
        due_check = due_quality = self._context.now()
        interval = min(CHECK_INTERVAL, self._context.settings.heartbeat / 4)
        active = False
        while True:
            await asyncio.sleep(min(LEVELS_INTERVAL if active else IDLE_LEVELS_INTERVAL, interval))
            now = self._context.now()
            try:
                active = self._context.rooms.observe_levels(now)
                if now >= due_check:
                    due_check = now + interval
                    self._sessions.check(now, time.time())
                    self._http_sessions.check(now, time.time())
                    self._context.rooms.handle_timer(now)
                if now >= due_quality:
                    due_quality = now + QUALITY_INTERVAL
                    self._context.rooms.observe_quality()
            except Exception:
                # The root of this task: a bug in one round must not stop the heartbeats.
                logger.exception("signalling timer failed")

    def announce_drain(self, seconds: float, message: str = "The server is going down for maintenance.") -> None:
        """Announces the drain and the remaining seconds to all sessions, and to those that join or resume until then."""
        self._context.drain_ends_at = self._context.now() + seconds
        for session in self._sessions:
            session.send(Draining(message=message, seconds=seconds))

    def update_ice_servers(self, failed_hosts: frozenset[str] = frozenset()) -> None:
        """Sends all sessions new ICE servers. Those whose media passes a relay in `failed_hosts` (IP addresses) restart ICE."""
        joined = (session for session in self._sessions if session.state is State.JOINED)
        self._ice_server_updates.update(joined, failed_hosts)

    async def close(self, message: str = "The server is going down for maintenance.") -> None:
        """Drains: refuses joins and asks all clients to join elsewhere. Returns when the sockets are closed, or after twice
        the close deadline. Idempotent."""
        self._context.draining = True
        self._ice_server_updates.close()
        for session in self._sessions:
            session.disconnect("draining", message)
        self._http_sessions.close(message)
        self._sockets.stop_forwarding()
        with suppress(TimeoutError):
            async with asyncio.timeout(2 * self._context.settings.close_deadline):
                await self._sockets.all_closed.wait()
