"""TCP resets at any time are normal on mobile networks and must not be logged as errors."""

import asyncio
import logging
import socket
import ssl
import struct
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from aiohttp import web

from sfu.api.files import File
from sfu.api.settings import Settings
from sfu.api.tls import TlsContext
from tests.api.support import running, token
from tests.api.test_hls import on_air, site, waiting
from tests.support.certificate import self_signed

HEAD = b"GET /healthz HTTP/1.1\r\nHost: here\r\n\r\n"
POST = (
    f"POST /api/v1/rooms HTTP/1.1\r\nHost: here\r\nAuthorization: Bearer {token(room_create=True)}\r\n"
    "Content-Type: application/json\r\n"
).encode()
UPGRADE = (
    b"GET /ws HTTP/1.1\r\nHost: here\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)
MOMENTS = {
    "at once": b"",
    "in the head": HEAD[:20],
    "after the head": HEAD,
    "after many heads": HEAD * 500,
    "in a body": POST + b"Content-Length: 5000\r\n\r\n{",
    "in a chunked body": POST + b"Transfer-Encoding: chunked\r\n\r\n5\r\n{",
    "after a bad chunk": POST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n{",
    "while 100 is awaited": POST + b"Content-Length: 5000\r\nExpect: 100-continue\r\n\r\n",
    "in a handshake": UPGRADE[:60],
    "after a handshake": UPGRADE,
    "while an answer is slow": b"GET /slow HTTP/1.1\r\nHost: here\r\n\r\n",
    "while an answer streams": b"GET /stream HTTP/1.1\r\nHost: here\r\n\r\n",
    "while a file is sent": b"GET /file HTTP/1.1\r\nHost: here\r\n\r\n",
    "after a scrape": b"GET /metrics HTTP/1.1\r\nHost: here\r\n\r\n" * 5,
    "no HTTP": b"\x16\x03\x01\x02\x00\x01\x00",
}


def reset(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def send_and_reset(port: int, sent: bytes, context: ssl.SSLContext | None) -> None:
    """Blocking; runs in a thread."""
    sock = socket.create_connection(("127.0.0.1", port), timeout=5)
    if context is not None:
        sock = context.wrap_socket(sock)
    sock.sendall(sent)
    time.sleep(0.05)  # the server is sending a part of the responses
    reset(sock)


def complaints(records: list[logging.LogRecord]) -> list[logging.LogRecord]:
    return [record for record in records if record.levelno >= logging.WARNING or record.exc_info]


async def hold(request: web.Request) -> web.StreamResponse:
    await asyncio.sleep(0.2)
    return web.Response(text="done" * 100_000)


async def stream(request: web.Request) -> web.StreamResponse:
    answer = web.StreamResponse()
    await answer.prepare(request)
    for _ in range(20):
        await answer.write(b"x" * 100_000)
        await asyncio.sleep(0.01)
    return answer


async def every_moment(folder: Path, *, tls: bool) -> None:
    large = folder / "large"
    large.write_bytes(b"x" * 20_000_000)

    async def file(request: web.Request) -> web.StreamResponse:
        return File(large, {"Content-Type": "video/mp4"})

    context = server_tls = None
    if tls:
        certificate, key = self_signed(folder)
        server_tls = TlsContext(str(certificate), str(key))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    routes = [web.get("/slow", hold), web.get("/stream", stream), web.get("/file", file)]
    async with running(Settings(port=0), routes=routes, tls=server_tls) as server:
        for sent in MOMENTS.values():
            await asyncio.to_thread(send_and_reset, server.port, sent, context)
        if tls:  # in the TLS handshake
            await asyncio.to_thread(send_and_reset, server.port, b"", None)
            await asyncio.to_thread(send_and_reset, server.port, b"\x16\x03\x01\x02\x00\x01\x00", None)
        async with asyncio.timeout(5):
            while server.site.connections.open:  # noqa: ASYNC110  # what is waited for has no event
                await asyncio.sleep(0.01)
        assert (not tls) is ((await status(server.port)) == b"200")


async def status(port: int) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(HEAD)
    try:
        return (await reader.readline())[9:12]
    except ConnectionError:
        return b""
    finally:
        writer.close()


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "TLS"])
@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_reset_at_any_time(tmp_path: Path, caplog: pytest.LogCaptureFixture, loop: str, tls: bool) -> None:
    caplog.set_level(logging.INFO)
    factory: Callable[[], asyncio.AbstractEventLoop] | None = None
    if loop == "uvloop":
        factory = pytest.importorskip("uvloop").new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(every_moment(tmp_path, tls=tls))
    assert complaints(caplog.records) == []


async def test_reset_during_a_blocking_reload(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with site(tmp_path) as one:
        live_stream = on_air(one)
        sockets = []
        for path in ("720p.m3u8?_HLS_msn=1&_HLS_part=3", "720p/1.3.m4s"):
            sock = socket.create_connection(("127.0.0.1", one.server.port))
            sock.sendall(f"GET /hls/town-hall/PG_1/{path} HTTP/1.1\r\nHost: here\r\n\r\n".encode())
            sockets.append(sock)
        await waiting(live_stream, len(sockets))
        for sock in sockets:
            reset(sock)
        async with asyncio.timeout(5):
            while one.server.site.connections.open:  # noqa: ASYNC110  # what is waited for has no event
                await asyncio.sleep(0.01)
        live_stream.end(time.time())
        await asyncio.sleep(0)
        assert await one.status("/hls/town-hall/PG_1/720p.m3u8") == 200
    assert complaints(caplog.records) == []


async def test_reset_before_100_continue(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    sent = MOMENTS["while 100 is awaited"]
    async with running(Settings(port=0)) as server:
        for _ in range(30):
            sock = socket.create_connection(("127.0.0.1", server.port))
            sock.sendall(sent)
            reset(sock)  # the server has not read the request yet
        async with asyncio.timeout(5):
            while server.site.connections.open:  # noqa: ASYNC110  # no event announces it
                await asyncio.sleep(0.01)
        assert await status(server.port) == b"200"
    assert complaints(caplog.records) == []


@pytest.mark.parametrize(("expect", "answer"), [("100-continue", b"100"), ("100-Continue", b"100"), ("tea", b"417")])
async def test_expectations(expect: str, answer: bytes) -> None:
    async with running(Settings(port=0)) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(POST + f"Content-Length: 15\r\nExpect: {expect}\r\n\r\n".encode())
        assert (await reader.readline())[9:12] == answer
        if answer == b"100":
            await reader.readline()
            writer.write(b'{"name":"town"}')
            assert (await reader.readline())[9:12] == b"201"
        writer.close()
