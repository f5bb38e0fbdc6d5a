"""Connection limits in total, per address and behind proxies, and the responses to refused connections."""

import asyncio
import json
import logging
import time
from contextlib import suppress
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from sfu.api import connection_limiter as module
from sfu.api.connection_limiter import ConnectionLimiter
from sfu.api.http_protocol import REFUSED_TIMEOUT
from sfu.api.settings import Settings
from sfu.errors import ConfigurationError
from tests.api.support import Server, running

HEAD = b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"


def counted(**settings: Any) -> ConnectionLimiter:
    return ConnectionLimiter(Settings(**{"max_connections": 10, "connections_per_address": 2, **settings}))


@pytest.mark.parametrize(
    ("addresses", "reasons"),
    [
        (["198.51.100.1"] * 3 + ["198.51.100.2"], ["", "", "address", ""]),
        (["2001:db8::1", "2001:db8::2", "2001:db8::3", "2001:db8:0:1::1"], ["", "", "address", ""]),
        (["::ffff:198.51.100.1", "198.51.100.1", "198.51.100.1"], ["", "", "address"]),
        (["fe80::1%eth0", "fe80::2%eth0", "fe80::3%eth0"], ["", "", "address"]),
        (["127.0.0.1"] * 11, [""] * 10 + ["total"]),
        ([f"198.51.100.{number}" for number in range(11)], [""] * 10 + ["total"]),
        (["", "", ""], ["", "", "address"]),
    ],
)
def test_refused_addresses(addresses: list[str], reasons: list[str]) -> None:
    one = counted()
    assert [one.enter(address) for address in addresses] == reasons
    for address, reason in zip(addresses, reasons, strict=True):
        if not reason:
            one.leave(address)
    assert one.open == 0
    assert not one._by_address
    assert one.enter(addresses[-1]) == ""


PROXIES = ("10.0.0.0/8", "::1")


def test_clients_behind_a_proxy_are_distinguished() -> None:
    one = counted()
    assert [one.begin(client) for client in ("198.51.100.1",) * 3] == ["", "", "address"]
    assert one.begin("198.51.100.2") == ""
    one.end("198.51.100.1")
    assert one.begin("198.51.100.1") == ""
    assert one.refused == {"total": 0, "address": 1, "late_head": 0}


def test_only_configured_proxies_are_trusted() -> None:
    assert not counted(trusted_proxies=()).is_proxy("127.0.0.1")


@pytest.mark.parametrize("words", ["proxy.example", "10.0.0.1/8", ""])
def test_invalid_networks(words: str) -> None:
    with pytest.raises(ConfigurationError, match="is not an address or network"):
        Settings(trusted_proxies=(words,))


def test_a_flood_logs_one_record(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    one = counted()
    with caplog.at_level(logging.WARNING):
        for _ in range(1000):
            one.enter("198.51.100.1")
    assert [record.message for record in caplog.records] == ["connections refused"]
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + module.LOG_INTERVAL + 1)
    one.enter("198.51.100.1")
    assert len(caplog.records) == 2


FEW = Settings(port=0, connections_per_address=3, trusted_proxies=())


async def answer(server: Server, said: bytes = HEAD) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(said)
    try:
        return await asyncio.wait_for(reader.read(), 5)
    finally:
        writer.close()


async def test_refused_connection_gets_a_response_and_can_retry_later() -> None:
    async with running(FEW) as server:
        taken = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(3)]
        head, _, body = (await answer(server)).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 429 Too Many Requests\r\n")
        assert b"Retry-After: 5" in head
        assert json.loads(body)["code"] == "too_many_connections"
        for _, writer in taken[1:]:
            writer.close()
        while server.site.connections.open > 1:  # noqa: ASYNC110 (TCP's goodbye)
            await asyncio.sleep(0.001)
        status, text = await server.ask("GET", "/metrics")
        assert status == 200
        assert "sfu_http_connections 2.0" in text
        assert 'sfu_http_connections_refused_total{reason="address"} 1.0' in text
        taken[0][1].close()


async def test_total_limit() -> None:
    async with running(Settings(port=0, max_connections=2)) as server:
        taken = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(2)]
        assert (await answer(server)).startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
        for _, writer in taken:
            writer.close()


async def test_silent_refused_connections_are_closed_soon() -> None:
    async with running(Settings(port=0, max_connections=1)) as server:
        loop = asyncio.get_running_loop()
        held = [await asyncio.open_connection("127.0.0.1", server.port)]
        began = loop.time()
        refused = [
            await asyncio.open_connection("127.0.0.1", server.port) for _ in range(module.MAX_PENDING_REFUSALS + 20)
        ]

        async def ended(reader: asyncio.StreamReader) -> float:
            with suppress(ConnectionResetError):
                assert await asyncio.wait_for(reader.read(), 5) == b""
            return loop.time() - began

        after = sorted(await asyncio.gather(*(ended(reader) for reader, _ in refused)))
        for _, writer in held + refused:
            writer.close()
        print(after[19], after[20], after[-1])
        assert after[19] < REFUSED_TIMEOUT / 2 < after[20]
        assert after[-1] < REFUSED_TIMEOUT + 1.0
        assert server.site.connections.unanswered == 0


async def test_proxied_requests_are_counted_per_client() -> None:
    release = asyncio.Event()

    async def slow(request: web.Request) -> web.StreamResponse:
        await release.wait()
        return web.Response(text="done")

    settings = Settings(port=0, connections_per_address=3)
    async with running(settings, routes=[web.get("/slow", slow)]) as server:

        async def ask(client: str, path: str = "/slow") -> int:
            return (await server.ask("GET", path, headers={"X-Forwarded-For": f"spoofed, {client}"}))[0]

        waiting = [asyncio.create_task(ask("198.51.100.1")) for _ in range(3)]
        while server.site.connections._by_address.get("198.51.100.1") != 3:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
        assert await ask("198.51.100.1", "/livez") == 429
        assert await ask("198.51.100.2", "/livez") == 200
        assert (await server.ask("GET", "/livez"))[0] == 200
        release.set()
        assert await asyncio.gather(*waiting) == [200] * 3
        assert await ask("198.51.100.1", "/livez") == 200
        assert not server.site.connections._by_address


def test_the_same_with_uvloop() -> None:
    uvloop = pytest.importorskip("uvloop")

    async def scenario() -> None:
        await test_refused_connection_gets_a_response_and_can_retry_later()
        await test_total_limit()
        await test_silent_refused_connections_are_closed_soon()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(scenario())


async def test_aiohttp_reads_the_refusal() -> None:
    async with running(FEW) as server:
        taken = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(3)]
        async with aiohttp.ClientSession() as http, http.get(f"http://127.0.0.1:{server.port}/livez") as refused:
            assert (refused.status, (await refused.json())["code"]) == (429, "too_many_connections")
        for _, writer in taken:
            writer.close()


async def test_forged_x_forwarded_for_line_is_ignored() -> None:
    """The proxy appends a header line (RFC 9110 5.3) instead of a list entry."""
    release = asyncio.Event()

    async def slow(request: web.Request) -> web.StreamResponse:
        await release.wait()
        return web.Response(text="done")

    async with running(Settings(port=0, connections_per_address=2), routes=[web.get("/slow", slow)]) as server:

        async def ask(forged: str, client: str) -> int:
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            lines = f"X-Forwarded-For: {forged}\r\nX-Forwarded-For: {client}\r\n"
            writer.write(f"GET /slow HTTP/1.1\r\nHost: here\r\n{lines}\r\n".encode())
            try:
                return int((await reader.readline()).split()[1])
            finally:
                writer.close()

        waiting = [asyncio.create_task(ask(f"1.1.1.{number}", "198.51.100.1")) for number in range(2)]
        while server.site.connections._by_address.get("198.51.100.1") != 2:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
        assert await ask("1.1.1.9", "198.51.100.1") == 429
        release.set()
        assert await asyncio.gather(*waiting) == [200, 200]
        assert await ask("198.51.100.1", "198.51.100.2") == 200
