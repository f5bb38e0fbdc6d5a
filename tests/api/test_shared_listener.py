"""HTTP, HTTPS and ICE-TCP on one port, told apart by the first byte."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from sfu.api import shared_listener
from sfu.api.connection_limiter import ConnectionLimiter
from sfu.api.server import CONNECTION_LIMITER, UNAUTHENTICATED_BUDGET, Site, listen
from sfu.api.settings import Settings
from sfu.api.shared_listener import SharedListener
from sfu.api.tls import TlsContext
from sfu.forwarding.loop_budget import make_unauthenticated_budget
from tests.support.certificate import self_signed

CHECK = b"\x00\x64" + bytes(100)


@dataclass
class Running:
    site: Site
    taken: list[socket.socket] = field(default_factory=list)

    @property
    def listener(self) -> SharedListener:
        (listener,) = self.site._servers
        assert isinstance(listener, SharedListener)
        return listener


@contextlib.asynccontextmanager
async def running(tls: TlsContext | None = None, timeout: float = 5.0) -> AsyncIterator[Running]:
    async def hello(_: web.Request) -> web.Response:
        return web.Response(text="hello")

    settings = Settings(port=0, request_header_timeout=timeout)
    app = web.Application()
    app[CONNECTION_LIMITER] = ConnectionLimiter(settings)
    app[UNAUTHENTICATED_BUDGET] = make_unauthenticated_budget()
    app.router.add_get("/", hello)
    taken: list[socket.socket] = []
    runner, site = await listen(app, settings, ("127.0.0.1",), tls, ice_tcp=taken.append)
    yield Running(site, taken)
    await runner.cleanup()
    for sock in taken:
        sock.close()


async def until(done: Callable[[], object]) -> None:
    async with asyncio.timeout(5):
        while not done():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


@pytest.mark.parametrize("secure", [False, True], ids=["HTTP", "HTTPS"])
async def test_both_protocols_on_one_port(secure: bool, tmp_path: Path) -> None:
    tls = TlsContext(*map(str, self_signed(tmp_path))) if secure else None
    async with running(tls) as server, aiohttp.ClientSession() as client:
        _, writer = await asyncio.open_connection("127.0.0.1", server.site.port)
        writer.write(CHECK)
        url = f"{'https' if secure else 'http'}://127.0.0.1:{server.site.port}/"
        async with client.get(url, ssl=False) as answer:
            assert await answer.text() == "hello"
        await until(lambda: server.taken)
        assert server.taken[0].recv(200) == CHECK, "the first bytes are still there"
        assert not server.listener._waiting
        writer.close()


async def test_a_failed_tls_handshake_affects_no_one(tmp_path: Path) -> None:
    async with running(TlsContext(*map(str, self_signed(tmp_path)))) as server, aiohttp.ClientSession() as client:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.site.port)
        writer.write(b"\x16\x03\x01\x00\x05junk!")
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            await asyncio.wait_for(reader.read(), 5)
        await until(lambda: not server.listener._tasks)
        async with client.get(f"https://127.0.0.1:{server.site.port}/", ssl=False) as answer:
            assert answer.status == 200
        writer.close()


async def test_a_connection_without_a_first_byte_is_closed() -> None:
    async with running(timeout=0.1) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.site.port)
        assert await asyncio.wait_for(reader.read(), 5) == b""
        assert server.listener.dropped == {"late": 1}
        assert not server.listener._waiting
        writer.close()


async def test_waiting_connections_are_limited_and_the_oldest_goes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_listener, "WAITING_LIMIT", 3)
    async with running() as server:
        opened = [await asyncio.open_connection("127.0.0.1", server.site.port) for _ in range(5)]
        for reader, _ in opened[:2]:
            assert await asyncio.wait_for(reader.read(), 5) == b""
        assert len(server.listener._waiting) == 3
        assert server.listener.dropped == {"limit": 2}
        for _, writer in opened:
            writer.close()
