"""Slow request heads, tested with raw sockets."""

import asyncio
import time

import pytest
from aiohttp import web

from sfu.api.settings import Settings
from tests.api.support import running

QUICK = Settings(port=0, request_header_timeout=0.3, keepalive_timeout=30)
HEAD = b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"


async def seconds_until_closed(reader: asyncio.StreamReader) -> float:
    started = time.monotonic()
    try:
        async with asyncio.timeout(5):
            while await reader.read(4096):
                pass
    except ConnectionResetError:
        pass
    return time.monotonic() - started


async def drip(writer: asyncio.StreamWriter, data: bytes) -> None:
    for byte in data:
        writer.write(bytes([byte]))
        await asyncio.sleep(0.05)


@pytest.mark.parametrize("said", [b"", b"G", HEAD[:-2]])
async def test_an_unfinished_head_is_cut_off(said: bytes) -> None:
    async with running(QUICK) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(said)
        assert 0.2 < await seconds_until_closed(reader) < 2
        assert server.site.connections.refused["late_head"] == 1
        writer.close()


async def test_a_dripping_head_is_cut_off() -> None:
    async with running(QUICK) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        dripping = asyncio.create_task(drip(writer, HEAD))
        assert 0.2 < await seconds_until_closed(reader) < 2
        dripping.cancel()
        writer.close()


async def test_a_second_slow_head_is_cut_off_but_an_idle_connection_is_not() -> None:
    async with running(QUICK) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        for _ in range(2):
            writer.write(HEAD)
            assert b"200 OK" in await reader.readuntil(b"\r\n\r\n")
            assert await reader.readexactly(3) == b"ok\n"
            await asyncio.sleep(0.5)
        writer.write(HEAD[:10])
        assert 0.2 < await seconds_until_closed(reader) < 2
        writer.close()


async def test_slow_response_and_open_websocket_have_no_timeout() -> None:
    async def slow(request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(0.6)
        return web.Response(text="done")

    async def echo(request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for message in socket:
            await socket.send_str(message.data)
        return socket

    async with running(QUICK, routes=[web.get("/slow", slow), web.get("/ws", echo)]) as server:
        assert await server.ask("GET", "/slow") == (200, "done")
        async with server.client.ws_connect("/ws") as socket:
            await asyncio.sleep(0.6)
            await socket.send_str("a" * 100_000)
            assert len(await socket.receive_str()) == 100_000
        assert server.site.connections.refused["late_head"] == 0


def test_the_same_with_uvloop() -> None:
    uvloop = pytest.importorskip("uvloop")

    async def scenario() -> None:
        await test_an_unfinished_head_is_cut_off(HEAD[:-2])
        await test_a_second_slow_head_is_cut_off_but_an_idle_connection_is_not()
        await test_slow_response_and_open_websocket_have_no_timeout()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(scenario())


async def test_many_slow_clients_do_not_keep_others_out() -> None:
    patient = Settings(port=0, request_header_timeout=1.5)  # tolerates a short stall of the test machine
    async with running(patient) as server:
        connections = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(200)]
        for _, writer in connections:
            writer.write(b"GET / HT")
        assert (await server.ask("GET", "/livez"))[0] == 200
        await asyncio.gather(*(seconds_until_closed(reader) for reader, _ in connections))
        for _, writer in connections:
            writer.close()
        assert server.site.connections.refused["late_head"] == 200


async def test_garbage_is_answered_with_400() -> None:
    async with running(QUICK) as server:
        for said in (b"\x16\x03\x01\x02\x00\x01", b"GET\r\n\r\n", b"GET / HTTP/1.1\r\n" + b"x: " + b"y" * 20_000):
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(said)
            async with asyncio.timeout(5):
                assert b" 400 " in await reader.readline()
            writer.close()
        assert (await server.ask("GET", "/livez"))[0] == 200
