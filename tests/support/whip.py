"""A WHIP server in this process, with real rooms, HTTP and media on loopback; encoders are `RawPeer`s."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from sfu.api.application import create_app
from sfu.api.development import LOOPBACK
from sfu.api.server import listen
from sfu.api.services import Services
from sfu.api.settings import Settings as HttpSettings
from sfu.auth.origins import Origins
from sfu.auth.tokens import Verifier
from sfu.errors import AtCapacity
from sfu.rooms import Rooms
from sfu.rooms import Settings as RoomSettings
from sfu.signaling.context import AccessControl
from sfu.signaling.messages import IceServer
from sfu.signaling.server import Signaling, random_id
from sfu.signaling.settings import Settings
from sfu.transport.endpoint import WebRtcEndpoint
from sfu.transport.settings import Settings as TransportSettings
from sfu.transport.webrtc_server import WebRtcServer
from tests.api.support import KEY, Node, token
from tests.support.peer import RawPeer

ORIGIN = "https://studio.example.org"
FRAGMENT = "application/trickle-ice-sdpfrag"


def encoder_token(identity: str = "obs", room: str = "standup", **grants: Any) -> str:
    return token(identity=identity, room=room, **{"room_join": True, **grants})


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    text: str
    problem: dict[str, Any]


@dataclass
class WhipServer:
    http: aiohttp.ClientSession
    port: int
    rooms: Rooms
    signaling: Signaling
    webrtc_server: WebRtcServer
    full: str = ""
    "Why the server takes no participants."
    peers: list[RawPeer] = field(default_factory=list)

    async def ask(
        self,
        method: str,
        path: str,
        body: str | bytes | None = None,
        *,
        token: str | None = None,
        content_type: str | None = None,
        **headers: str,
    ) -> Answer:
        """`token` None: of the encoder `obs`; empty: none. Header names have `_` in place of `-`."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        token = encoder_token() if token is None else token
        if token:
            sent["Authorization"] = f"Bearer {token}"
        if content_type or body is not None:
            sent["Content-Type"] = content_type or "application/sdp"
        async with self.http.request(method, path, data=body, headers=sent) as answer:
            problem = await answer.json() if answer.content_type == "application/problem+json" else {}
            return Answer(answer.status, answer.headers, "" if problem else await answer.text(), problem)

    async def post(self, offer: str, *, room: str = "standup", query: str = "", **options: Any) -> Answer:
        return await self.ask("POST", f"/whip/{room}{query}", offer, **options)

    def peer(self, *arguments: Any) -> RawPeer:
        peer = RawPeer(*arguments)
        self.peers.append(peer)
        return peer

    async def connect(self, peer: RawPeer, answer: str) -> None:
        """Returns when both sides have keys."""
        peer.use(answer, role="server" if "a=setup:active" in answer else "client")
        peer.check()
        again = time.monotonic() + 1.0

        def connected() -> bool:
            nonlocal again
            if time.monotonic() > again:
                again = time.monotonic() + 1.0
                peer.check()
            peer.pump()
            return peer.tx is not None

        await until(connected)

    @property
    def sources(self) -> dict[str, list[str]]:
        """Sources that each participant of the room publishes."""
        return {
            one.identity: [publication.description.source for publication in one.publications.values()]
            for one in self.rooms.find("standup").members
        }


async def until(done: Callable[[], object], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        await asyncio.sleep(0.005)


@asynccontextmanager
async def whip_server(
    settings: Settings | None = None,
    rooms: RoomSettings | None = None,
    transport: TransportSettings | None = None,
    *,
    ice_servers: tuple[IceServer, ...] = (),
    base_path: str = "",
) -> AsyncIterator[WhipServer]:
    webrtc_server = WebRtcServer(transport or TransportSettings(udp_port=0, bind=("127.0.0.1",), include_loopback=True))
    webrtc_server.open()
    verifier = Verifier({"app": KEY})
    found_rooms = Rooms(rooms or RoomSettings(), random_id, time.time)
    signaling = Signaling(
        settings or Settings(),
        found_rooms,
        AccessControl(
            lambda text: verifier.verify(text, time.time()),
            lambda claims: verifier.revoke(claims, time.time()),
            lambda _: admit(),
            lambda _: ice_servers,
            lambda claims: verifier.is_revoked(claims, time.time()),
        ),
        WebRtcEndpoint(webrtc_server),
        Origins((ORIGIN,)),
    )
    http = HttpSettings(port=0, allowed_origins=(ORIGIN,), base_path=base_path)
    app = create_app(
        http, Services(rooms=found_rooms, node=Node(), verifier=verifier), routes=signaling.routes(base_path)
    )
    runner, site = await listen(app, http, LOOPBACK)
    timer = asyncio.create_task(signaling.run())
    async with aiohttp.ClientSession(f"http://127.0.0.1:{site.port}") as client:
        server = WhipServer(client, site.port, found_rooms, signaling, webrtc_server)

        def admit() -> None:
            if server.full:
                raise AtCapacity(server.full)

        try:
            yield server
        finally:
            timer.cancel()
            for peer in server.peers:
                peer.close()
            await signaling.close()
            await runner.cleanup()
            found_rooms.close()
            webrtc_server.close()
