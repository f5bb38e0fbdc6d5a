"""sfu.api.long_polling: blocked requests of a stream wake together, and responses from prepared bytes."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from sfu.api import long_polling
from sfu.api.long_polling import LongPoller, PreparedResponse
from sfu.outputs.hls.rendition_stream import Limits, RenditionStream
from sfu.outputs.hls.storage import NoStorage
from sfu.outputs.settings import Rendition
from tests.support.running_server import until

HEAD, BODY = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n", b"body"


def stream() -> RenditionStream:
    return RenditionStream(Rendition("720p", 1280, 720, 1_500_000), Limits(60.0, 6.0, keep=False), NoStorage())


async def test_a_condition_that_holds_does_not_wait() -> None:
    poller, one = LongPoller(), stream()
    assert await poller.wait_until(one, lambda: True)
    assert (one.waiting, poller._alarms) == (set(), {})


async def test_all_requests_of_a_stream_wake_at_its_change() -> None:
    poller, one, other = LongPoller(), stream(), stream()
    requests = [asyncio.create_task(poller.wait_until(one, lambda: one.ended)) for _ in range(100)]
    distant = asyncio.create_task(poller.wait_until(other, lambda: other.ended))
    await until(lambda: len(one.waiting) == 100 and len(other.waiting) == 1)
    assert len(poller._alarms) == 2  # one timer per stream
    one.end()
    assert await asyncio.gather(*requests) == [True] * 100
    assert (one.waiting, distant.done()) == (set(), False)
    other.end()
    assert await distant


async def test_a_change_that_is_not_the_one_keeps_a_request_waiting() -> None:
    poller, one = LongPoller(), stream()
    changes = 0

    def third() -> bool:
        return changes == 3

    request = asyncio.create_task(poller.wait_until(one, third))
    for _ in range(3):
        await until(lambda: len(one.waiting) == 1)
        changes += 1
        one.interrupt()
        await asyncio.sleep(0)
    assert await request


async def test_a_request_ends_after_the_maximum_duration(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(long_polling, "LONGEST_HOLD", 0.05)
    monkeypatch.setattr(long_polling, "DEADLINE_CHECK_INTERVAL", 0.01)
    poller, one = LongPoller(), stream()
    assert not await poller.wait_until(one, lambda: False)
    assert one.waiting == set()
    await until(lambda: not poller._alarms)


async def test_a_viewer_that_leaves_is_forgotten() -> None:
    poller, one = LongPoller(), stream()
    request = asyncio.create_task(poller.wait_until(one, lambda: False))
    await until(lambda: len(one.waiting) == 1)
    request.cancel()
    with pytest.raises(asyncio.CancelledError):
        await request
    assert one.waiting == set()


@pytest.fixture
async def port() -> AsyncIterator[int]:
    """A server that answers each request with prepared bytes."""

    async def answer(request: web.Request) -> web.StreamResponse:
        response = PreparedResponse(200, HEAD, BODY)
        if "Origin" in request.headers:
            response.allow(request.headers["Origin"], "Date")
        return response

    app = web.Application()
    app.router.add_get("/", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield runner.addresses[0][1]
    await runner.cleanup()


async def exchange(port: int, *requests: str) -> tuple[list[str], bool]:
    """The heads of the answers on one connection, and whether the server then closed it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    heads = []
    async with asyncio.timeout(20):
        for request in requests:
            writer.write(f"{request}\r\nHost: x\r\n\r\n".encode())
            heads.append((await reader.readuntil(b"\r\n\r\n")).decode())
            if not request.startswith("HEAD"):
                assert await reader.readexactly(len(BODY)) == BODY
        writer.write_eof()
        closed = "Connection: close" in heads[-1]
        assert await reader.read() == b""
    writer.close()
    return heads, closed


async def test_a_connection_is_kept_alive(port: int) -> None:
    heads, closed = await exchange(port, "GET / HTTP/1.1", "HEAD / HTTP/1.1", "GET / HTTP/1.1")
    assert not closed
    for head in heads:
        assert head.startswith("HTTP/1.1 200 OK\r\nContent-Length: 4\r\nDate: ")


@pytest.mark.parametrize("request_line", ["GET / HTTP/1.1\r\nConnection: close", "GET / HTTP/1.0"])
async def test_a_connection_that_ends_is_announced(port: int, request_line: str) -> None:
    assert (await exchange(port, request_line))[1]


async def test_cors_headers(port: int) -> None:
    (head,), _ = await exchange(port, "GET / HTTP/1.1\r\nOrigin: https://a.example")
    assert "Access-Control-Allow-Origin: https://a.example\r\nAccess-Control-Expose-Headers: Date\r\n" in head
