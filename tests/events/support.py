"""A webhook receiver on a loopback port, and rooms whose events reach it."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from aiohttp import web
from livekit.api import TokenVerifier, WebhookReceiver
from livekit.protocol.webhook import WebhookEvent

from sfu.events.events import Events
from sfu.events.settings import Endpoint, Settings, Webhooks
from sfu.ids import Identity
from sfu.rooms import Participant, Permissions, Profile, Rooms
from sfu.rooms import Settings as RoomsSettings
from sfu.rooms.track_description import TrackDescription
from tests.api.support import FarEnd
from tests.support.media_source import FakeSource

KEYS = {"web": "a-secret-of-the-tests-with-more-than-32-bytes"}
"""The key of the servers in tests/web/server.py."""


@dataclass
class Receiver:
    """Verifies and parses each request with LiveKit's own SDK. `answers`: what the next requests get; then 200."""

    url: str = ""
    events: list[WebhookEvent] = field(default_factory=list)
    "In the order of arrival, answered with 200."
    requests: int = 0
    answers: deque[int | Callable[[web.Request], Awaitable[web.StreamResponse]]] = field(default_factory=deque)
    status: int = 200
    "Answer once `answers` is empty."
    _changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.requests += 1
        assert request.headers["Content-Type"] == "application/webhook+json"
        body = (await request.read()).decode()
        verifier = TokenVerifier(*next(iter(KEYS.items())))
        event = WebhookReceiver(verifier).receive(body, request.headers["Authorization"])
        answer = self.answers.popleft() if self.answers else self.status
        if not isinstance(answer, int):
            response = await answer(request)
        else:
            response = web.Response(status=answer)
        async with self._changed:
            if response.status == 200:
                self.events.append(event)
            self._changed.notify_all()
        return response

    async def wait(self, reached: Callable[[], bool], timeout: float = 20.0) -> None:
        async with asyncio.timeout(timeout), self._changed:
            await self._changed.wait_for(reached)

    async def wait_for(self, name: str) -> WebhookEvent:
        await self.wait(lambda: any(event.event == name for event in self.events))
        return next(event for event in self.events if event.event == name)

    def names(self, room: str = "") -> list[str]:
        return [event.event for event in self.events if not room or event.room.name == room]


@asynccontextmanager
async def receiving(port: int = 0) -> AsyncIterator[Receiver]:
    receiver = Receiver()
    app = web.Application(client_max_size=2**22)
    app.router.add_post("/hook", receiver.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", port)
        await site.start()
        assert runner.addresses
        receiver.url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
        yield receiver
    finally:
        await runner.cleanup()


@dataclass
class Meetings:
    """Rooms of a server without its network."""

    events: Events
    rooms: Rooms

    def join(self, room: str, identity: str, **permissions: Any) -> Participant:
        profile = Profile(identity=Identity(identity), permissions=Permissions(**permissions), name=identity.title())
        participant = self.rooms.join(room, profile, FarEnd())
        assert isinstance(participant, Participant)
        return participant

    def publish(self, participant: Participant) -> FakeSource:
        media = FakeSource("audio", "opus")
        description = TrackDescription(source="microphone", name="mic")
        self.rooms.find(participant.room).publications.publish(participant, media, description)
        return media


@asynccontextmanager
async def meetings(settings: Settings) -> AsyncIterator[Meetings]:
    events = Events(settings, KEYS)
    numbers = count(1)
    rooms = Rooms(
        RoomsSettings(),
        lambda prefix: f"{prefix}_{next(numbers)}",
        lambda: 1000.0,
        events.stream.observe_room,
    )
    await events.open()
    try:
        yield Meetings(events, rooms)
    finally:
        await events.close()


def webhooks(directory: Path, endpoints: Sequence[Endpoint | str], **options: object) -> Settings:
    listed = tuple(Endpoint(url=each) if isinstance(each, str) else each for each in endpoints)
    options = {"private": True, **options}
    return Settings(directory=str(directory), webhooks=Webhooks(endpoints=listed, **options))  # type: ignore[arg-type]  # options of the class
