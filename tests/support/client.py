"""A participant without a browser: signalling over a real WebSocket, media from a RawPeer."""

import asyncio
import json
import time
from collections.abc import Callable
from typing import Any

import aiohttp

from sfu.sdp.capabilities import OUT_EXTENSION_IDS, URI_MID
from tests.support.peer import RawPeer
from tests.support.wire import Rtp, rtp, vp8

Json = dict[str, Any]
MID = OUT_EXTENSION_IDS[URI_MID]


class Client:
    """Requests are answered by id; what else comes is kept in `events`."""

    def __init__(self, http: aiohttp.ClientSession, url: str, token: str) -> None:
        self._http = http
        self._url = url
        self._token = token
        self._joined: aiohttp.ClientWebSocketResponse | None = None
        self._id = 0
        self._replies: dict[int, asyncio.Future[Json]] = {}
        self.events: list[Json] = []
        self.publishing = RawPeer()
        self.subscribing = RawPeer()
        self.state: Json = {}
        """The response to the join, if the caller sets it."""
        self.tracks: dict[str, str] = {}
        self.offered: dict[str, str] = {}
        """Track of each m-line."""
        self._sequence = 0
        self.closed = asyncio.Event()

    @property
    def _socket(self) -> aiohttp.ClientWebSocketResponse:
        assert self._joined is not None, "not joined"
        return self._joined

    @property
    def local_port(self) -> int:
        """Local TCP port of the WebSocket."""
        return int(self._socket.get_extra_info("sockname")[1])

    async def join(self, **fields: object) -> Json:
        self._joined = await self._http.ws_connect(f"{self._url}/ws", protocols=("sfu",))
        self._reader = asyncio.create_task(self._read())
        return await self.request("join", token=self._token, **fields)

    @property
    def close_code(self) -> int | None:
        return self._socket.close_code

    async def leave(self) -> None:
        self._id += 1
        await self._socket.send_json({"type": "leave", "id": self._id})
        await asyncio.wait_for(self.closed.wait(), 5)

    async def request(self, kind: str, **fields: object) -> Json:
        self._id += 1
        reply = self._replies[self._id] = asyncio.get_running_loop().create_future()
        await self._socket.send_json({"type": kind, "id": self._id, **fields})
        return await asyncio.wait_for(reply, 5)

    async def _read(self) -> None:
        async for frame in self._socket:
            messages = json.loads(frame.data)
            for message in messages if isinstance(messages, list) else [messages]:
                waiting = self._replies.get(message.get("id", -1))
                if message["type"] in ("ok", "error", "joined", "answer") and waiting and not waiting.done():
                    waiting.set_result(message)
                elif message["type"] == "offer":
                    self.offered |= message.get("tracks", {})
                    self.subscribing.use(message["sdp"], role="client")
                    await self._socket.send_json(
                        {"type": "answer", "id": message["id"], "sdp": self.subscribing.answer(message["sdp"])}
                    )
                    self.subscribing.check()
                elif message["type"] == "ping":
                    await self._socket.send_json({"type": "pong", "at": message["at"]})
                else:
                    self.events.append(message)
        self.closed.set()

    async def publish(self) -> None:
        """A microphone and a camera; returns when the connection's keys are there."""
        answer = await self.request(
            "publish",
            sdp=self.publishing.offer(),
            tracks=[{"mid": "0", "source": "microphone"}, {"mid": "1", "source": "camera"}],
        )
        self.tracks = answer["tracks"]
        self.publishing.use(answer["sdp"], role="client")
        self.publishing.check()
        await self.until(lambda: self.publishing.tx)

    def send(self, level: int = 20) -> None:
        """One packet of sound (`level` in −dBov) and one keyframe."""
        self._sequence += 1
        sound = rtp(
            b"sound", ssrc=1, sequence=self._sequence, timestamp=960 * self._sequence, payload_type=111,
            extensions={4: b"0", 1: bytes([level])},
        )  # fmt: skip
        picture = rtp(
            vp8(key=True), ssrc=2, sequence=self._sequence, timestamp=3000 * self._sequence, extensions={4: b"1"}
        )
        self.publishing.send(sound)
        self.publishing.send(picture)

    def media(self) -> list[Rtp]:
        return [Rtp.parse(data) for data in self.subscribing.media()] if self.subscribing.tx else []

    def arrived(self) -> set[str]:
        """Tracks of which something came since the last look."""
        return {self.offered[packet.extensions[MID].decode()] for packet in self.media() if MID in packet.extensions}

    async def event(self, kind: str) -> Json:
        """The newest event of this kind."""
        await self.until(lambda: any(event["type"] == kind for event in self.events))
        return next(event for event in reversed(self.events) if event["type"] == kind)

    async def until(self, done: Callable[[], object], seconds: float = 20.0) -> None:
        deadline = time.monotonic() + seconds
        again = time.monotonic() + 1.0
        while not done():
            now = time.monotonic()
            assert now < deadline, f"nothing came of it in time; heard: {self.events}"
            for peer in (self.publishing, self.subscribing):
                if peer.dtls is not None:
                    peer.pump()
                    if now > again and peer.tx is None:
                        peer.check()  # as browsers do; the first one may have been lost
            if now > again:
                again = now + 1.0
            await asyncio.sleep(0.005)

    async def close(self) -> None:
        if self._joined is not None:
            await self._joined.close()
            await self._reader
        self.publishing.close()
        self.subscribing.close()
