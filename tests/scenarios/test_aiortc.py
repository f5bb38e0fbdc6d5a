"""Stock aiortc peer connections as publisher and as subscriber, over our signalling: frames come out decoded."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import aiohttp
import aioice.ice
import pytest
from aiortc import MediaStreamTrack, RTCDataChannel, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import AudioStreamTrack, VideoStreamTrack
from av import AudioFrame, VideoFrame

from sfu.app import Server
from sfu.sdp.capabilities import MAX_MESSAGE_BYTES
from tests.support.admin import token
from tests.support.running_server import running_server

PATIENCE = 20.0


@pytest.fixture
async def server(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Server]:
    # aioice leaves loopback out when it gathers, and a test machine may have nothing else
    monkeypatch.setattr(aioice.ice, "get_host_addresses", lambda **_: ["127.0.0.1"])
    async with running_server({}, lambda server: (server.signaling,)) as (server, _):
        yield server


class Guest:
    """Joins, publishes what aiortc generates, and takes every offer with one stock peer connection for each way."""

    def __init__(self, http: aiohttp.ClientSession, server: Server, identity: str) -> None:
        self._http, self._url = http, server.url
        self._token = token("stock", identity, room_join=True)
        self.publisher, self.subscriber = RTCPeerConnection(), RTCPeerConnection()
        self.tracks: asyncio.Queue[MediaStreamTrack] = asyncio.Queue()
        self.subscriber.on("track", self.tracks.put_nowait)
        self._replies: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.errors: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.heard: asyncio.Queue[str] = asyncio.Queue()
        self.channel: RTCDataChannel | None = None
        self.opened = asyncio.Event()

    async def join(self) -> None:
        self._socket = await self._http.ws_connect(f"{self._url}/ws", protocols=("sfu",))
        self._listening = asyncio.create_task(self._listen())
        await self._request({"type": "join", "id": 1, "token": self._token})

    async def open_data(self) -> None:
        """Before `publish`, which returns when the channel is open."""
        self.channel = self.publisher.createDataChannel("reliable")
        self.channel.on("message", self.heard.put_nowait)
        self.channel.on("open", self.opened.set)

    async def publish(self) -> None:
        for track in (AudioStreamTrack(), VideoStreamTrack()):
            self.publisher.addTrack(track)
        await self.publisher.setLocalDescription(await self.publisher.createOffer())
        tracks = [{"mid": "0", "source": "microphone"}, {"mid": "1", "source": "camera", "width": 640, "height": 480}]
        sdp = self.publisher.localDescription.sdp
        reply = await self._request({"type": "publish", "id": 2, "sdp": sdp, "tracks": tracks})
        self.answer = reply["sdp"]
        await self.publisher.setRemoteDescription(RTCSessionDescription(reply["sdp"], "answer"))
        if self.channel is not None:
            async with asyncio.timeout(PATIENCE):
                await self.opened.wait()

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
                if message["type"] == "error" and "id" not in message:
                    self.errors.put_nowait(message)
                elif message["type"] == "offer":
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


def message(size: int, letter: str = "x") -> str:
    """Of so many bytes."""
    empty = json.dumps({"topic": "t", "payload": ""})
    count, rest = divmod(size - len(empty), len(letter.encode()))
    return json.dumps({"topic": "t", "payload": "y" * rest + letter * count}, ensure_ascii=False)


async def test_messages_up_to_the_announced_size_pass_and_larger_ones_are_refused(server: Server) -> None:
    async with aiohttp.ClientSession() as http:
        ada, bob = Guest(http, server, "ada"), Guest(http, server, "bob")
        try:
            for guest in (ada, bob):
                await guest.join()
                await guest.open_data()
                await guest.publish()
            (announced,) = set(map(int, re.findall(r"a=max-message-size:(\d+)", ada.answer)))
            assert announced == MAX_MESSAGE_BYTES
            assert ada.channel is not None
            assert bob.channel is not None
            async with asyncio.timeout(PATIENCE):
                for text in (message(200), message(announced), message(announced, "é"), message(announced - 1, "👏")):
                    for sender, receiver in ((ada, bob), (bob, ada)):
                        assert sender.channel is not None
                        sender.channel.send(text)
                        heard = json.loads(await receiver.heard.get())
                        assert heard["payload"] == json.loads(text)["payload"]
                with pytest.raises(ValueError, match="only supports messages up to"):
                    ada.channel.send(message(announced + 1))
                assert ada.publisher.sctp is not None
                ada.publisher.sctp._remote_max_message_size = 0  # a client that does not look at what is announced
                for size in (announced + 1, 66_000, 262_060, 300_000):
                    ada.channel.send(message(size))
                    error = await ada.errors.get()
                    assert error["code"] == "data_too_large"
                    assert f"{announced:,}" in error["message"]
                    await asyncio.sleep(1.0)  # errors come once a second
                ada.channel.send(message(300, "é"))
                assert "é" in await bob.heard.get()
            assert bob.heard.empty()
        finally:
            for guest in (bob, ada):
                await guest.close()
