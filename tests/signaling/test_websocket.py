"""The WebSocket endpoint over a real socket, by aiohttp's own client and by hand."""

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp
import pytest
from aiohttp import ClientWebSocketResponse, WSMsgType, WSServerHandshakeError, web
from aiohttp.test_utils import TestClient, TestServer

from sfu.auth.origins import Origins
from sfu.auth.tokens import Claims
from sfu.errors import AtCapacity, NotAuthorized
from sfu.rooms import Rooms
from sfu.rooms import Settings as RoomSettings
from sfu.signaling import AccessControl, Settings, Signaling
from sfu.signaling.frames import Opcode, frame_header
from sfu.signaling.server import random_id
from tests.signaling.fakes import SERVER, FakeEdge, claims

TOKEN = "secret-token-of"
HttpClient = TestClient[web.Request, web.Application]


class Site:
    """A server with short deadlines on a real port."""

    def __init__(self, **settings: Any) -> None:
        defaults = {"coalesce": 0.0, "close_deadline": 0.5, "unjoined_per_address": 3}
        self.rooms = Rooms(RoomSettings(), random_id, lambda: 0.0)
        self.full = False
        self.asked: list[str] = []
        self.signaling = Signaling(
            Settings(**{**defaults, **settings}),
            self.rooms,
            AccessControl(self.authenticate, lambda _: None, self.admit),
            FakeEdge(),
            Origins(("https://meet.example.org",)),
        )

    def authenticate(self, token: str) -> Claims:
        if not token.startswith(TOKEN):
            raise NotAuthorized("A token is required.", code="token_missing")
        return claims(token.removeprefix(TOKEN + "-"), room_admin=True)

    def admit(self, room: str) -> None:
        self.asked.append(room)
        if self.full:
            raise AtCapacity("This server is full: its processor is 97% used.")

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[HttpClient]:
        app = web.Application()
        app.router.add_routes(self.signaling.routes())
        async with TestClient(TestServer(app)) as client, asyncio.TaskGroup() as tasks:
            timers = tasks.create_task(self.signaling.run())
            try:
                yield client
            finally:
                timers.cancel()


@pytest.fixture
async def site() -> AsyncIterator[tuple[Site, HttpClient]]:
    site = Site()
    async with site.running() as client:
        yield site, client


async def read(socket: ClientWebSocketResponse, type_: str) -> dict[str, Any]:
    """The next message of a type, holding everything against the schema."""
    async with asyncio.timeout(5):
        while True:
            message = await socket.receive()
            assert message.type is WSMsgType.TEXT, (message.type, message.data)
            frame = json.loads(message.data)
            for one in frame if isinstance(frame, list) else [frame]:
                SERVER.validate(one)
                found: dict[str, Any] = one
                if found["type"] == type_:
                    return found


async def join(client: HttpClient, name: str, **options: Any) -> tuple[ClientWebSocketResponse, dict[str, Any]]:
    socket = await client.ws_connect("/ws", protocols=("sfu",), **options)
    await socket.send_json({"type": "join", "id": 1, "token": f"{TOKEN}-{name}"})
    return socket, await read(socket, "joined")


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110  # what is waited for has no event
            await asyncio.sleep(0.01)


async def close_code(socket: ClientWebSocketResponse) -> int | None:
    async with asyncio.timeout(5):
        while True:
            message = await socket.receive()
            if message.type in (WSMsgType.CLOSE, WSMsgType.CLOSED, WSMsgType.CLOSING, WSMsgType.ERROR):
                return socket.close_code


async def test_a_meeting(site: tuple[Site, HttpClient]) -> None:
    _, client = site
    ada, joined = await join(client, "ada")
    bob, _ = await join(client, "bob")
    await read(ada, "participant_joined")
    await bob.send_json({"type": "chat", "id": 2, "text": "hello"})
    assert (await read(ada, "chat_message"))["entry"]["text"] == "hello"
    assert (await read(bob, "ok"))["id"] == 2
    await bob.send_json({"type": "leave"})
    assert (await read(ada, "participant_left"))["reason"] == "left"
    assert await close_code(bob) == 1000
    assert joined["heartbeat"] == 30.0


async def test_the_token_as_subprotocol_is_never_logged(
    site: tuple[Site, HttpClient], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    _, client = site
    socket = await client.ws_connect("/ws", protocols=("sfu", f"token.{TOKEN}-ada"))
    assert socket.protocol == "sfu"
    await socket.send_json({"type": "join", "id": 1})
    await read(socket, "joined")
    with pytest.raises(WSServerHandshakeError) as refused:
        await client.ws_connect("/ws", protocols=(f"token.{TOKEN}-ada",))
    assert refused.value.status == 400
    await socket.close()
    assert TOKEN not in caplog.text


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("https://meet.example.org", 101),
        ("same", 101),
        (None, 101),
        ("https://evil.example.org", 403),
        ("null", 403),
        ("https://meet.example.org.evil.org", 403),
    ],
)
async def test_origins(site: tuple[Site, HttpClient], origin: str | None, status: int) -> None:
    _, client = site
    own = str(client.make_url("/")).rstrip("/")
    headers = {} if origin is None else {"Origin": own if origin == "same" else origin}
    if status == 101:
        await (await client.ws_connect("/ws", headers=headers)).close()
        return
    with pytest.raises(WSServerHandshakeError) as refused:
        await client.ws_connect("/ws", headers=headers)
    assert refused.value.status == status


async def test_without_a_token(site: tuple[Site, HttpClient]) -> None:
    _, client = site
    socket = await client.ws_connect("/ws")
    await socket.send_json({"type": "join", "id": 1})
    assert (await read(socket, "error"))["code"] == "token_missing"
    assert await close_code(socket) == 1008


@pytest.mark.parametrize(
    ("send", "code"),
    [
        (lambda socket: socket.send_str("x" * 270_000), 1009),
        (lambda socket: socket.send_bytes(b"x"), 1003),
    ],
    ids=["too large", "binary"],
)
async def test_frames_that_are_not_for_us(site: tuple[Site, HttpClient], send: Any, code: int) -> None:
    _, client = site
    socket, joined = await join(client, "ada")
    await send(socket)
    assert await close_code(socket) == code
    # The session may be resumed all the same.
    again = await client.ws_connect("/ws")
    await again.send_json({"type": "join", "id": 2, "resume": joined["resume_key"], "last": joined["n"]})
    assert (await read(again, "joined"))["resumed"] is True
    await again.close()


async def test_a_frame_of_the_largest_size(site: tuple[Site, HttpClient]) -> None:
    _, client = site
    socket, _ = await join(client, "ada")
    message = json.dumps({"type": "data", "id": 2, "payload": "x" * 30_000, "padding": ""})
    padding = "p" * (65_536 - len(message))
    await socket.send_str(message.replace('"padding": ""', f'"padding": "{padding}"'))
    assert (await read(socket, "ok"))["id"] == 2
    await socket.close()


async def test_garbage_before_and_after_joining(site: tuple[Site, HttpClient]) -> None:
    _, client = site
    socket = await client.ws_connect("/ws")
    await socket.send_str("{")
    assert (await read(socket, "error"))["code"] == "bad_request"
    assert await close_code(socket) == 1008
    socket, _ = await join(client, "ada")
    for text in ("", "{", "[]", "\x00", "\ud7ff", '{"type":"join"}'):
        await socket.send_str(text)
        assert (await read(socket, "error"))["code"] == "bad_request"
    await socket.close()


async def test_bytes_that_are_no_websocket(site: tuple[Site, HttpClient]) -> None:
    _, client = site
    url = client.make_url("/ws")
    handshake = (
        f"GET /ws HTTP/1.1\r\nHost: {url.host}:{url.port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    ).encode()
    for junk in (
        b"\xff" * 64,
        b"\x81\x05hello",
        b"\x81\xff" + b"\xff" * 12,
        b"\x91\x80\0\0\0\0",
        b"\x81\x84\0\0\0\0\xff\xfe\xfd\xfc",
    ):
        reader, writer = await asyncio.open_connection(url.host, url.port)
        writer.write(handshake)
        await reader.readuntil(b"\r\n\r\n")
        writer.write(junk)
        writer.write_eof()
        async with asyncio.timeout(5):
            await reader.read()
        writer.close()
        await writer.wait_closed()
    socket, _ = await join(client, "ada")
    await socket.close()


async def test_sockets_that_do_not_join() -> None:
    site = Site(join_deadline=0.1)
    async with site.running() as client:
        sockets = [await client.ws_connect("/ws") for _ in range(3)]
        with pytest.raises(WSServerHandshakeError) as refused:
            await client.ws_connect("/ws")
        assert refused.value.status == 429
        assert [await close_code(socket) for socket in sockets] == [4000, 4000, 4000]
        for _ in range(5):
            await join(client, "ada")


async def test_a_full_server() -> None:
    site = Site(max_sockets=1)
    async with site.running() as client:
        socket, _ = await join(client, "ada")
        with pytest.raises(WSServerHandshakeError) as refused:
            await client.ws_connect("/ws")
        assert refused.value.status == 503
        await socket.close()


async def test_a_full_machine_says_so_before_a_socket_opens(site: tuple[Site, HttpClient]) -> None:
    """Plain requests get the reason too: a page asks so, because browsers hide why a socket was refused."""
    served, client = site
    ada, joined = await join(client, "ada")
    served.full = True
    for headers in ({}, {"Upgrade": "websocket", "Connection": "Upgrade"}, {"Origin": "https://meet.example.org"}):
        async with client.get("/ws", headers=headers) as answer:
            assert answer.status == 503
            assert await answer.json() == {
                "code": "at_capacity",
                "message": "This server is full: its processor is 97% used.",
            }
            assert answer.headers["Retry-After"] == "5"
            assert answer.headers.get("Access-Control-Allow-Origin") == headers.get("Origin")
    assert served.signaling.statistics().sockets == 1

    again = await client.ws_connect("/ws", protocols=("sfu", f"resume.{joined['resume_key']}"))
    assert again.protocol == "sfu"
    await again.send_json({"type": "join", "id": 2, "resume": joined["resume_key"], "last": joined["n"]})
    assert (await read(again, "joined"))["resumed"] is True
    with pytest.raises(WSServerHandshakeError):
        await client.ws_connect("/ws", protocols=("sfu", "resume.of-nobody"))
    await ada.close()
    await again.close()


async def test_a_resume_key_does_not_replace_a_token_of_a_new_join(site: tuple[Site, HttpClient]) -> None:
    served, client = site
    ada, joined = await join(client, "ada")
    served.full = True
    bob = await client.ws_connect("/ws", protocols=("sfu", f"resume.{joined['resume_key']}"))
    await bob.send_json({"type": "join", "id": 1, "token": f"{TOKEN}-bob"})
    assert (await read(bob, "error"))["code"] == "at_capacity"
    assert await close_code(bob) == 1008
    await ada.close()


async def test_a_draining_server_knows_the_room_by_the_token(site: tuple[Site, HttpClient]) -> None:
    served, client = site
    ada, _ = await join(client, "ada")
    served.signaling.announce_drain(60)
    assert (await read(ada, "draining"))["seconds"] == 60
    served.asked.clear()
    bob = await client.ws_connect("/ws", protocols=("sfu", f"token.{TOKEN}-bob"))
    assert served.asked == ["", "standup"]
    await bob.send_json({"type": "join", "id": 1})
    assert 59 < (await read(bob, "draining"))["seconds"] <= 60, "who comes late knows it too"
    eve = await client.ws_connect("/ws", protocols=("sfu", "token.nonsense"))
    await eve.send_json({"type": "join", "id": 1})
    assert (await read(eve, "error"))["code"] == "token_missing"
    for socket in (ada, bob, eve):
        await socket.close()


async def test_heartbeat() -> None:
    site = Site(heartbeat=0.1)
    async with site.running() as client:
        socket, joined = await join(client, "ada")
        for _ in range(3):
            ping = await read(socket, "ping")
            await socket.send_json({"type": "pong", "at": ping["at"]})
        assert (await read(socket, "leave"))["reason"] == "timeout"
        assert await close_code(socket) == 4000
        again = await client.ws_connect("/ws")
        await again.send_json({"type": "join", "id": 2, "resume": joined["resume_key"], "last": joined["n"]})
        assert (await read(again, "joined"))["resumed"] is True
        await again.close()


async def test_a_dropped_socket_resumes(site: tuple[Site, HttpClient]) -> None:
    served, client = site
    ada, _ = await join(client, "ada")
    bob, joined = await join(client, "bob")
    transport = bob._response.connection.transport  # type: ignore[union-attr]  # connected before
    assert transport is not None
    transport.abort()
    await until(lambda: served.signaling.statistics().sockets == 1)
    await ada.send_json({"type": "chat", "id": 2, "text": "are you there?"})
    await read(ada, "ok")
    again = await client.ws_connect("/ws")
    await again.send_json({"type": "join", "id": 2, "resume": joined["resume_key"], "last": joined["n"]})
    resumed = await read(again, "joined")
    assert resumed["participant"] == joined["participant"]
    assert served.signaling.statistics().counters.resumes == 1
    await ada.close()
    await again.close()


async def test_resume_elsewhere_closes_the_first_socket(site: tuple[Site, HttpClient]) -> None:
    _, client = site
    first, joined = await join(client, "ada")
    second = await client.ws_connect("/ws")
    await second.send_json({"type": "join", "id": 2, "resume": joined["resume_key"], "last": joined["n"]})
    await read(second, "joined")
    assert await close_code(first) == 4001
    await second.close()


async def test_absence_ends_the_session() -> None:
    site = Site(resume_window=0.1)
    async with site.running() as client:
        ada, _ = await join(client, "ada")
        bob, _ = await join(client, "bob")
        await bob.close()
        left = await read(ada, "participant_left")
        assert left["reason"] == "timeout"
        await ada.close()


async def test_drain(site: tuple[Site, HttpClient]) -> None:
    served, client = site
    socket, _ = await join(client, "ada")
    closing = asyncio.create_task(served.signaling.close())
    leave = await read(socket, "leave")
    assert (leave["reason"], leave["action"]) == ("draining", "reconnect")
    assert await close_code(socket) == 1000
    await closing
    assert served.signaling.statistics().sockets == 0
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await client.ws_connect("/ws")
    assert refused.value.status == 503
    async with client.get("/ws") as answer:
        assert (await answer.json())["code"] == "draining"


async def test_a_client_that_does_not_read() -> None:
    site = Site(queue_bytes=65_536, message_rate=1e6, message_burst=1_000_000, data_channel_rate=1e6)
    async with site.running() as client:
        url = client.make_url("/ws")
        reader, writer = await asyncio.open_connection(url.host, url.port, limit=1024)
        hello = json.dumps({"type": "join", "id": 1, "token": f"{TOKEN}-slow"}).encode()
        writer.write(
            f"GET /ws HTTP/1.1\r\nHost: {url.host}:{url.port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n".encode()
        )
        await reader.readuntil(b"\r\n\r\n")
        writer.write(bytes((0x81, 0x80 | len(hello), 0, 0, 0, 0)) + hello)
        ada, _ = await join(client, "ada")
        counters = site.signaling.statistics().counters
        async with asyncio.timeout(10):
            for number in range(2, 1_000):
                await ada.send_json({"type": "data", "id": number, "payload": "x" * 32_000})
                await read(ada, "ok")
                if counters.slow_consumers:
                    break
        assert counters.slow_consumers == 1
        await until(lambda: site.signaling.statistics().sockets == 1)
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
        await ada.close()


@pytest.mark.parametrize(
    ("length", "header"),
    [
        (0, b"\x81\x00"),
        (125, b"\x81\x7d"),
        (126, b"\x81\x7e\x00\x7e"),
        (65_535, b"\x81\x7e\xff\xff"),
        (65_536, b"\x81\x7f\x00\x00\x00\x00\x00\x01\x00\x00"),
    ],
)
def test_frame_headers(length: int, header: bytes) -> None:
    assert frame_header(Opcode.TEXT, length) == header


async def test_sockets_behind_a_proxy_are_counted_by_the_last_line_of_x_forwarded_for() -> None:
    site = Site(trust_forwarded_for=True, unjoined_per_address=2)
    async with site.running() as client:
        url = client.make_url("/ws")

        async def open_(forged: str, address: str) -> tuple[int, asyncio.StreamWriter]:
            reader, writer = await asyncio.open_connection(url.host, url.port)
            lines = f"X-Forwarded-For: {forged}\r\nX-Forwarded-For: {address}\r\n"
            writer.write(
                f"GET /ws HTTP/1.1\r\nHost: here\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n{lines}"
                "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n".encode()
            )
            return int((await reader.readline()).split()[1]), writer

        opened = [await open_(f"1.1.1.{number}", "198.51.100.1") for number in range(3)]
        assert [status for status, _ in opened] == [101, 101, 429]
        opened.append(await open_("198.51.100.1", "198.51.100.2"))
        assert opened[-1][0] == 101
        for _, writer in opened:
            writer.close()
