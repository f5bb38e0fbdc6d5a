"""Stock aiortc peer connections as publisher and as subscriber, over our signalling: frames come out decoded."""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace
from typing import Any

import aiohttp
import aioice.ice
import pytest
from aiortc import MediaStreamTrack, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import AudioStreamTrack, VideoStreamTrack
from av import AudioFrame, VideoFrame

from sfu.app import Server
from sfu.auth.grants import VideoGrants
from sfu.auth.tokens import mint
from sfu.config import Settings, load

SECRET = "a secret of the tests that is long enough"
PATIENCE = 20.0


@pytest.fixture
async def server(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Server]:
    # aioice leaves loopback out when it gathers, and a test machine may have nothing else
    monkeypatch.setattr(aioice.ice, "get_host_addresses", lambda **_: ["127.0.0.1"])
    base: Settings = load(
        flags=[
            ("http.host", "127.0.0.1"),
            ("http.port", "0"),
            ("rtc.udp_port", "0"),
            ("rtc.bind", '["127.0.0.1"]'),
            ("rtc.include_loopback", "true"),
        ]
    )
    server = Server(replace(base, auth=replace(base.auth, keys={"key": SECRET})))
    await server.open()
    timers = asyncio.create_task(server.signaling.run())
    yield server
    timers.cancel()
    await server.close()


class Guest:
    """Joins, publishes what aiortc generates, and takes every offer with one stock peer connection for each way."""

    def __init__(self, http: aiohttp.ClientSession, server: Server, identity: str) -> None:
        self._http, self._url = http, server.url
        self._token = mint(
            "key", SECRET, identity=identity, video=VideoGrants(room="stock", room_join=True), now=time.time(),
            token_id=secrets.token_hex(8),
        )  # fmt: skip
        self.publisher, self.subscriber = RTCPeerConnection(), RTCPeerConnection()
        self.tracks: asyncio.Queue[MediaStreamTrack] = asyncio.Queue()
        self.subscriber.on("track", self.tracks.put_nowait)
        self._replies: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    async def join(self) -> None:
        self._socket = await self._http.ws_connect(f"{self._url}/ws", protocols=("sfu",))
        self._listening = asyncio.create_task(self._listen())
        await self._request({"type": "join", "id": 1, "token": self._token})

    async def publish(self) -> None:
        for track in (AudioStreamTrack(), VideoStreamTrack()):
            self.publisher.addTrack(track)
        await self.publisher.setLocalDescription(await self.publisher.createOffer())
        tracks = [{"mid": "0", "source": "microphone"}, {"mid": "1", "source": "camera", "width": 640, "height": 480}]
        sdp = self.publisher.localDescription.sdp
        reply = await self._request({"type": "publish", "id": 2, "sdp": sdp, "tracks": tracks})
        await self.publisher.setRemoteDescription(RTCSessionDescription(reply["sdp"], "answer"))

    async def _request(self, message: dict[str, Any]) -> dict[str, Any]:
        await self._socket.send_json(message)
        async with asyncio.timeout(PATIENCE):
            reply = await self._replies.get()
        assert reply["type"] != "error", reply
        return reply

    async def _listen(self) -> None:
        async for frame in self._socket:
            content = frame.json()
            for message in content if isinstance(content, list) else [content]:
                if message["type"] == "offer":
                    await self._answer(message)
                elif "id" in message:
                    self._replies.put_nowait(message)

    async def _answer(self, offer: dict[str, Any]) -> None:
        await self.subscriber.setRemoteDescription(RTCSessionDescription(offer["sdp"], "offer"))
        await self.subscriber.setLocalDescription(await self.subscriber.createAnswer())
        await self._socket.send_json({"type": "answer", "id": offer["id"], "sdp": self.subscriber.localDescription.sdp})

    async def close(self) -> None:
        for connection in (self.publisher, self.subscriber):
            await connection.close()
        await self._socket.close()
        self._listening.cancel()
        with suppress(asyncio.CancelledError):
            await self._listening


async def test_a_stock_publisher_reaches_a_stock_subscriber(server: Server) -> None:
    async with aiohttp.ClientSession() as http:
        ada, bob = Guest(http, server, "ada"), Guest(http, server, "bob")
        try:
            await ada.join()
            await ada.publish()
            await bob.join()
            async with asyncio.timeout(PATIENCE):
                tracks = [await bob.tracks.get() for _ in range(2)]
                assert [track.kind for track in tracks] == ["audio", "video"]
                for _ in range(10):
                    sound, picture = [await track.recv() for track in tracks]
            assert isinstance(sound, AudioFrame)
            assert sound.sample_rate == 48_000
            assert isinstance(picture, VideoFrame)
            assert (picture.width, picture.height) == (640, 480)
        finally:
            for guest in (bob, ada):
                await guest.close()
