"""HTTP requests that are expensive to parse or answer, sent in one write, must not block the loop for long."""

import asyncio
import contextlib
import gzip
import socket
import time
from pathlib import Path

import pytest
from aiohttp import web

from sfu.api.tls import TlsContext
from tests.api.support import running, token
from tests.support.certificate import self_signed
from tests.support.cpu import attempts
from tests.support.loop_cost import measured

MOST = 0.002
"""Maximum CPU seconds of one loop callback."""
GET = b"GET /healthz HTTP/1.1\r\nHost: here\r\n"


def post(*headers: str) -> bytes:
    lines = ("POST /api/v1/rooms HTTP/1.1", "Host: here", f"Authorization: Bearer {token(room_create=True)}", *headers)
    return "\r\n".join((*lines, "", "")).encode()


def exchange(port: int, data: bytes, last: bytes) -> bytes:
    """Reads until `last` or the end of the stream. Blocking; runs in a thread."""
    received = b""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as sock:
        try:
            sock.sendall(data)
            while last not in received[-4096:] and (chunk := sock.recv(65_536)):
                received += chunk
        except ConnectionError:
            pass  # the server closed the connection with unread bytes
    return received


CHUNKED = ("Content-Type: application/json", "Transfer-Encoding: chunked")
ZIPPED = gzip.compress(b" " * 50_000_000)


@pytest.mark.parametrize(
    ("sent", "last"),
    [
        (post(*CHUNKED) + b"1\r\n \r\n" * 40_000 + b"0\r\n\r\n", b" 400 "),
        (post(*CHUNKED) + b"1;" + b"x" * 60_000 + b"\r\n \r\n0\r\n\r\n", b" 400 "),
        ((GET + b"\r\n") * 2_000 + GET + b"Connection: close\r\n\r\n", b"Connection: close"),
        ((GET + b"a:b\r\n" * 100 + b"\r\n") * 300 + GET + b"Connection: close\r\n\r\n", b"Connection: close"),
        (GET + b"a:b\r\n" * 40_000, b" 400 "),
        (GET + b"x-forwarded-for:10.0.0.1,10.0.0.2,10.0.0.3\r\n" * 100 + b"Connection: close\r\n\r\n", b"ok\n"),
        (b"GET /" + b"%41" * 2_600 + b" HTTP/1.1\r\nHost: here\r\n\r\n", b" 404 "),
        (b"GET /healthz?" + b"a=b&" * 1_900 + b" HTTP/1.1\r\nHost: here\r\n\r\n", b"ok\n"),
        ((post("Expect: 100-continue", "Content-Length: 0") * 500) + GET + b"Connection: close\r\n\r\n", b"ok\n"),
        (b"\0" * 200_000, b" 400 "),
        (post("Content-Type: application/json", "Content-Encoding: gzip", f"Content-Length: {len(ZIPPED)}") + ZIPPED, b"}"),
        (post("Content-Type: application/json", "Content-Length: 60000") + b"[" * 60_000, b" 400 "),
    ],
    ids=[
        "chunks of one byte", "a long chunk extension", "pipelined", "pipelined with many headers", "too many headers",
        "many X-Forwarded-For", "a long path", "a long query", "Expect", "no HTTP", "a compressed bomb", "deep JSON",
    ],
)  # fmt: skip
async def test_the_loop_is_not_held(sent: bytes, last: bytes) -> None:
    for attempt in attempts():
        async with running() as server:
            with measured() as cost:
                received = await asyncio.to_thread(exchange, server.port, sent, last)
            assert received.startswith(b"HTTP/1."), received[:100]
            assert last in received
            attempt.spent(cost.longest, MOST, cost)
            assert (await server.ask("GET", "/livez"))[0] == 200


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br"])
async def test_compressed_bodies_are_refused(encoding: str) -> None:
    async with running() as server:
        headers = {"Content-Encoding": encoding, "Content-Type": "application/json"}
        body = gzip.compress(b'{"name":"room"}')
        asked = await server.ask("POST", "/api/v1/rooms", token=token(room_create=True), headers=headers, data=body)
        assert (asked[0], asked[1]["code"]) == (415, "unsupported_media")


async def test_a_body_larger_than_a_read_arrives_whole() -> None:
    async with running() as server:
        body = {"name": "room", "metadata": "é" * 6_000}
        status, answer = await server.ask("POST", "/api/v1/rooms", token=token(room_create=True), json=body)
        assert (status, answer["metadata"]) == (201, "é" * 6_000)


@pytest.mark.parametrize("size", [4095, 4096, 4097, 60_000])
async def test_reads_of_every_size_reach_the_handler(size: int) -> None:
    async def count(request: web.Request) -> web.StreamResponse:
        return web.Response(text=str(len(await request.read())))

    async with running(routes=[web.post("/count", count)]) as server:
        for _ in range(3):
            assert await server.ask("POST", "/count", data=b"x" * size) == (200, str(size))


async def lengths_over_tls(folder: Path) -> None:
    async def count(request: web.Request) -> web.StreamResponse:
        return web.Response(text=str(len(await request.read())))

    certificate, key = self_signed(folder)
    server_tls = TlsContext(str(certificate), str(key))
    async with running(routes=[web.post("/count", count)], tls=server_tls) as server:
        for size in (1, 4095, 4096, 4097, 8192, 60_000):
            async with server.client.post(
                f"https://127.0.0.1:{server.port}/count", data=b"x" * size, ssl=False
            ) as answer:
                assert await answer.text() == str(size)


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_reads_of_every_size_over_tls(loop: str, tmp_path: Path) -> None:
    factory = None if loop == "asyncio" else pytest.importorskip("uvloop").new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(lengths_over_tls(tmp_path))


async def test_endless_body_is_cut_off_soon_after_the_response() -> None:
    """The request was refused, so parsing the rest of the body is wasted work."""
    async with running() as server:
        head = b"POST /api/v1/rooms HTTP/1.1\r\nHost: here\r\nTransfer-Encoding: chunked\r\n\r\n"
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(head)
        assert b" 401 " in await reader.readline()
        began = time.monotonic()
        end = asyncio.create_task(reader.read())
        while not end.done() and time.monotonic() - began < 8:
            writer.write(b"1\r\n \r\n")
            await asyncio.sleep(0.01)
        with contextlib.suppress(ConnectionError):
            await end
        assert time.monotonic() - began < 5
        writer.close()


def test_the_same_with_uvloop() -> None:
    uvloop = pytest.importorskip("uvloop")

    async def scenario() -> None:
        for size in (4095, 4096, 4097, 60_000):
            await test_reads_of_every_size_reach_the_handler(size)
        async with running() as server:
            pipelined = (GET + b"\r\n") * 2_000 + GET + b"Connection: close\r\n\r\n"
            received = await asyncio.to_thread(exchange, server.port, pipelined, b"Connection: close")
            assert received.count(b"HTTP/1.1 200") == 2_001

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(scenario())
