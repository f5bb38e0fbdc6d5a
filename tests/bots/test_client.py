"""sfu.bots.client against a small scripted server."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from sfu.bots import client as client_module
from sfu.bots.client import SignalingClient, page_url, socket_url
from sfu.errors import ConfigurationError, RemoteError
from sfu.signaling import messages as m

Json = dict[str, Any]


class ScriptedServer:
    """A scripted server: queues the sockets and the messages received on them."""

    def __init__(self) -> None:
        self.sockets: asyncio.Queue[web.WebSocketResponse] = asyncio.Queue()
        self.heard: asyncio.Queue[Json] = asyncio.Queue()

    async def serve(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(protocols=("sfu",))
        await socket.prepare(request)
        self.sockets.put_nowait(socket)
        async for frame in socket:
            self.heard.put_nowait(frame.json())
        return socket

    async def hear(self, kind: str) -> Json:
        message = await asyncio.wait_for(self.heard.get(), 5)
        assert message["type"] == kind
        return message

    async def admit(self, *, resumed: bool = False, **fields: object) -> tuple[web.WebSocketResponse, Json]:
        socket = await asyncio.wait_for(self.sockets.get(), 5)
        join = await self.hear("join")
        answer = {
            "type": "joined", "id": join["id"], "session": "SE_1", "resume_key": "key", "n": 7, "resumed": resumed,
            "participant": {"id": "PA_1", "identity": "bot"}, "room": {"name": "r", "id": "RM_1"}, "participants": [],
            "permissions": {"publish": True, "subscribe": True, "data": True, "admin": False, "sources": []},
        }  # fmt: skip
        await socket.send_json(answer | fields)
        return socket, join


class RecordingListener:
    def __init__(self) -> None:
        self.joins: list[m.Joined] = []
        self.events: list[m.ServerMessage] = []
        self.changed = asyncio.Event()

    def joined(self, message: m.Joined) -> None:
        self.joins.append(message)
        self.changed.set()

    def event(self, message: m.ServerMessage) -> None:
        self.events.append(message)
        self.changed.set()

    async def until(self, done: Callable[[], bool]) -> None:
        async with asyncio.timeout(5):
            while not done():
                self.changed.clear()
                await self.changed.wait()


@pytest.fixture
async def server() -> ScriptedServer:
    return ScriptedServer()


@pytest.fixture
async def address(server: ScriptedServer) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_get("/ws", server.serve)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


@pytest.fixture
async def listener() -> RecordingListener:
    return RecordingListener()


@pytest.fixture
async def bot(
    address: str, listener: RecordingListener, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[SignalingClient]:
    monkeypatch.setattr(client_module, "MIN_BACKOFF", 0.01)

    async def token() -> str:
        return "the token"

    async with aiohttp.ClientSession() as http:
        yield SignalingClient(address, http, token, listener, name="Ada")


@contextlib.asynccontextmanager
async def running(bot: SignalingClient) -> AsyncIterator[Awaitable[None]]:
    task = asyncio.create_task(bot.run())
    try:
        yield task
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError, RemoteError):
            await task


async def test_it_joins_answers_pings_and_sends_requests(
    server: ScriptedServer, bot: SignalingClient, listener: RecordingListener
) -> None:
    async with running(bot) as task:
        socket, join = await server.admit()
        assert (join["token"], join["name"], join.get("resume", "")) == ("the token", "Ada", "")
        await listener.until(lambda: bool(listener.joins))
        await socket.send_json(
            [{"type": "ping", "at": 1.5}, {"type": "track_unpublished", "participant": "P", "track": "T"}]
        )
        assert (await server.hear("pong"))["at"] == 1.5
        await listener.until(lambda: bool(listener.events))
        assert listener.events == [m.TrackUnpublished(participant="P", track="T")]
        asked = asyncio.create_task(bot.request(m.Chat(id=0, text="hello")))
        chat = await server.hear("chat")
        await socket.send_json({"type": "ok", "id": chat["id"]})
        assert await asked == m.Ok(id=chat["id"])
        asked = asyncio.create_task(bot.request(m.Chat(id=0, text="again")))
        chat = await server.hear("chat")
        await socket.send_json({"type": "error", "id": chat["id"], "code": "rate_limited", "message": "Slower."})
        with pytest.raises(RemoteError, match=r"Slower\."):
            await asked
        await bot.leave()
        await server.hear("leave")
        await asyncio.wait_for(task, 5)


async def test_a_dropped_socket_is_resumed_and_requests_are_repeated(
    server: ScriptedServer, bot: SignalingClient, listener: RecordingListener
) -> None:
    async with running(bot):
        socket, _ = await server.admit()
        await socket.send_json({"type": "track_unpublished", "n": 12, "participant": "P", "track": "T"})
        await listener.until(lambda: bool(listener.events))
        asked = asyncio.create_task(bot.request(m.Mute(id=0, track="T", muted=True)))
        chatted = asyncio.create_task(bot.request(m.Chat(id=0, text="once")))
        mute = await server.hear("mute")
        await server.hear("chat")
        await socket.close(code=4000)
        socket, join = await server.admit(resumed=True, n=12)
        assert (join["resume"], join["last"], join["token"]) == ("key", 12, "the token")
        assert await server.hear("mute") == mute
        await socket.send_json({"type": "ok", "id": mute["id"]})
        assert await asked == m.Ok(id=mute["id"])
        with pytest.raises(ConnectionError):
            await chatted
        assert (bot.reconnects, [join.resumed for join in listener.joins]) == (1, [False, True])


async def test_an_expired_session_is_replaced(
    server: ScriptedServer, bot: SignalingClient, listener: RecordingListener
) -> None:
    async with running(bot):
        socket, _ = await server.admit()
        await listener.until(lambda: bool(listener.joins))
        asked = asyncio.create_task(bot.request(m.IceRestart(id=0)))
        await server.hear("restart")
        await socket.close(code=4002)
        await server.admit(resumed=False)
        with pytest.raises(ConnectionError):
            await asked
        await listener.until(lambda: len(listener.joins) == 2)


async def test_it_joins_with_a_new_session_after_action_reconnect(server: ScriptedServer, bot: SignalingClient) -> None:
    async with running(bot):
        socket, _ = await server.admit()
        await socket.send_json({"type": "leave", "reason": "draining", "message": "Bye.", "action": "reconnect"})
        await socket.close()
        _, join = await server.admit()
        assert "resume" not in join


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ({"type": "leave", "reason": "kicked", "message": "You were removed.", "action": "disconnect"}, "kicked"),
        (None, "error"),
    ],
)
async def test_it_does_not_return_after_action_disconnect_or_a_final_code(
    server: ScriptedServer, bot: SignalingClient, said: Json | None, code: str
) -> None:
    async with running(bot) as task:
        socket, _ = await server.admit()
        if said is not None:
            await socket.send_json(said)
        await socket.close(code=1008)
        with pytest.raises(RemoteError) as caught:
            await asyncio.wait_for(task, 5)
        assert caught.value.code == code


async def test_a_rejected_join_is_final_unless_the_room_is_full(server: ScriptedServer, bot: SignalingClient) -> None:
    async with running(bot) as task:
        socket = await server.sockets.get()
        join = await server.hear("join")
        await socket.send_json({"type": "error", "id": join["id"], "code": "room_full", "message": "Full."})
        await socket.close(code=1008)
        socket = await asyncio.wait_for(server.sockets.get(), 5)
        join = await server.hear("join")
        await socket.send_json({"type": "error", "id": join["id"], "code": "token_expired", "message": "Too old."})
        with pytest.raises(RemoteError, match="Too old"):
            await asyncio.wait_for(task, 5)


async def test_an_unreachable_server(bot: SignalingClient, monkeypatch: pytest.MonkeyPatch) -> None:
    bot.url = "ws://127.0.0.1:9/ws"
    with pytest.raises(RemoteError, match="cannot be reached"):
        await asyncio.wait_for(bot.run(), 10)


@pytest.mark.parametrize(
    ("url", "socket", "page"),
    [
        ("http://localhost:8080", "ws://localhost:8080/ws", "http://localhost:8080"),
        ("https://sfu.example.org/", "wss://sfu.example.org/ws", "https://sfu.example.org"),
        ("wss://sfu.example.org/media/ws", "wss://sfu.example.org/media/ws", "https://sfu.example.org/media"),
    ],
)
def test_addresses(url: str, socket: str, page: str) -> None:
    assert (socket_url(url), page_url(url)) == (socket, page)


@pytest.mark.parametrize("url", ["localhost:8080", "ftp://x", ""])
def test_invalid_addresses(url: str) -> None:
    with pytest.raises(ConfigurationError):
        socket_url(url)


@pytest.mark.parametrize("code", ["directory_unavailable", "cut_off"])
async def test_it_joins_again_after_a_temporary_refusal(
    server: ScriptedServer, bot: SignalingClient, listener: RecordingListener, code: str
) -> None:
    async with running(bot):
        socket = await asyncio.wait_for(server.sockets.get(), 5)
        join = await server.hear("join")
        await socket.send_json({"type": "error", "id": join["id"], "code": code, "message": "Try again."})
        await socket.close(code=1008)
        await server.admit()
        await listener.until(lambda: bool(listener.joins))
