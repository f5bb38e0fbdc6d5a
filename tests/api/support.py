"""A server on a free loopback port, with real rooms and a fake media sink."""

import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from sfu.api.application import create_app
from sfu.api.development import LOOPBACK, Development
from sfu.api.server import Site, listen
from sfu.api.services import Services
from sfu.api.settings import Settings
from sfu.api.tls import TlsContext
from sfu.auth.grants import VideoGrants
from sfu.auth.tokens import Verifier, mint
from sfu.auth.turn_health import TurnStatus
from sfu.events.events import Events
from sfu.forwarding.loop_budget import LoopBudget
from sfu.ids import Identity
from sfu.rooms import Participant, Permissions, Profile, Rooms
from sfu.rooms import Settings as RoomsSettings
from sfu.rooms.events import DataPacket, Delivery, LeaveReason
from sfu.rooms.media_stats import MediaStats
from sfu.rooms.quality import Link
from sfu.rooms.track_description import TrackDescription
from sfu.telemetry.metrics import Collector
from tests.support.media_source import FakeSource

KEY = "a-secret-of-thirty-two-bytes-or-more"


@dataclass
class FarEnd:
    """A ParticipantSink that records all calls."""

    events: list[object] = field(default_factory=list)
    removals: list[tuple[str, str]] = field(default_factory=list)
    its_account: MediaStats | None = None

    def deliver(self, delivery: Delivery) -> None:
        self.events.append(delivery.event)

    def relay_data(self, packet: DataPacket, *, reliable: bool) -> None:
        raise AssertionError("relaying is not supported")

    def admitted(self, participant: Participant) -> None:
        raise AssertionError("admission is not supported")

    def removed(self, reason: LeaveReason, message: str) -> None:
        self.removals.append((reason, message))

    def links(self) -> Sequence[Link]:
        return ()

    def media_stats(self) -> MediaStats | None:
        return self.its_account


@dataclass
class Node:
    """A fake NodePort."""

    draining: bool = False
    full: str = ""
    collectors: Sequence[Collector] = ()

    def not_ready(self) -> str:
        return "draining" if self.draining else ""

    def no_new_rooms(self) -> str:
        return self.not_ready() or self.full


@dataclass
class Server:
    client: aiohttp.ClientSession
    site: Site
    rooms: Rooms
    node: Node
    verifier: Verifier

    @property
    def port(self) -> int:
        return self.site.port

    async def ask(
        self, method: str, path: str, *, token: str = "", headers: Mapping[str, str] | None = None, **options: Any
    ) -> tuple[int, Any]:
        """Status, and the body as JSON or, if it is not JSON, as text."""
        status, _, body = await self.exchange(method, path, token=token, headers=headers, **options)
        return status, body

    async def exchange(
        self, method: str, path: str, *, token: str = "", headers: Mapping[str, str] | None = None, **options: Any
    ) -> tuple[int, Mapping[str, str], Any]:
        sent = dict(headers or {}) | ({"Authorization": f"Bearer {token}"} if token else {})
        async with self.client.request(method, path, headers=sent, **options) as answer:
            is_json = answer.content_type == "application/json"
            return answer.status, answer.headers, await (answer.json() if is_json else answer.text())

    def join(self, room: str, identity: str, **permissions: Any) -> tuple[Participant, FarEnd]:
        far_end = FarEnd()
        profile = Profile(identity=Identity(identity), permissions=Permissions(**permissions), name=identity.title())
        participant = self.rooms.join(room, profile, far_end)
        assert isinstance(participant, Participant)
        return participant, far_end

    def publish(self, participant: Participant) -> FakeSource:
        media = FakeSource("audio", "opus")
        self.rooms.find(participant.room).publications.publish(
            participant, media, TrackDescription(source="microphone")
        )
        return media


def token(**grants: Any) -> str:
    lifetime = grants.pop("lifetime", 3600.0)
    now = time.time() + grants.pop("later", 0.0)
    identity = grants.pop("identity", "")
    video = VideoGrants(**grants)
    return mint("app", KEY, identity=identity, video=video, now=now, token_id="T", lifetime=lifetime)


@asynccontextmanager
async def running(
    settings: Settings | None = None,
    *,
    development: Development | None = None,
    page_root: Path | None = None,
    routes: Sequence[web.AbstractRouteDef] = (),
    tls: TlsContext | None = None,
    access_log: bool = True,
    unauthenticated_budget: LoopBudget | None = None,
    collectors: Sequence[Collector] = (),
    turn_servers: Sequence[TurnStatus] = (),
    events: Events | None = None,
) -> AsyncIterator[Server]:
    numbers = count(1)
    settings = settings or Settings(port=0)
    observer = events.stream.observe_room if events is not None else None
    rooms = Rooms(RoomsSettings(max_rooms=3), lambda prefix: f"{prefix}_{next(numbers)}", lambda: 1000.0, observer)
    node = Node(collectors=collectors)
    verifier = Verifier(development.keys if development else {"app": KEY})
    app = create_app(
        settings,
        Services(rooms=rooms, node=node, verifier=verifier, events=events, turn_servers=lambda: turn_servers),
        development=development,
        page_root=page_root,
        routes=routes,
        access_log=access_log,
        unauthenticated_budget=unauthenticated_budget,
    )
    runner, site = await listen(app, settings, LOOPBACK, tls)
    try:
        async with aiohttp.ClientSession(f"http://127.0.0.1:{site.port}") as client:
            yield Server(client, site, rooms, node, verifier)
    finally:
        await runner.cleanup()
