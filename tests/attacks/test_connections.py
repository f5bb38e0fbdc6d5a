"""A client opens the maximum number of HTTP connections, directly and through a trusted proxy."""

import asyncio
import socket
from collections.abc import AsyncIterator

import aiohttp
import pytest
import pytest_asyncio

from tests.attacks.field import Field

pytestmark = pytest.mark.asyncio(loop_scope="session")

EACH = 40
REFUSED = "sfu_http_connections_refused_total:address"
HEAD = b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"
HOSTILE = "127.0.0.66"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def few() -> AsyncIterator[Field]:
    """127.0.0.0/24 are strangers' addresses to it, one beside them its proxy's."""
    settings = (f"http.connections_per_address={EACH}", "http.trusted_proxies=[127.0.1.0/24]")
    field = Field(*(word for setting in settings for word in ("--set", setting)))
    await field.open()
    yield field
    await field.close()


async def opened(field: Field, address: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", field.port, local_addr=(address, 0))


async def test_one_address_cannot_take_all_connections(few: Field, http: aiohttp.ClientSession) -> None:
    answers: list[bytes] = []

    async def attack() -> None:
        taken = []
        for number in range(600):
            reader, writer = await opened(few, HOSTILE)
            writer.write(HEAD)
            taken.append((reader, writer))
            if number % 20 == 19:
                await asyncio.sleep(0.005)
        answers[:] = await asyncio.gather(*(reader.readuntil(b"\r\n") for reader, _ in taken))
        async with http.get(f"{few.url}/livez") as answer:
            assert answer.status == 200, "others come in"
        for _, writer in taken:
            writer.close()
        while few.metrics()["sfu_http_connections"] > EACH:  # noqa: ASYNC110 (TCP's goodbyes)
            await asyncio.sleep(0.01)

    await few.withstands(attack, counted=(REFUSED,), lines=1 + EACH)
    assert answers.count(b"HTTP/1.1 200 OK\r\n") == EACH
    assert answers.count(b"HTTP/1.1 429 Too Many Requests\r\n") == 600 - EACH
    assert sum('"connections refused"' in record for record in few.records()) == 1


async def test_behind_a_trusted_proxy_clients_are_distinguished(few: Field) -> None:
    async def status(client: str, source: str, path: str = "/livez") -> tuple[int, asyncio.StreamWriter]:
        reader, writer = await opened(few, source)
        upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n" if path == "/ws" else ""
        key = "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n" if path == "/ws" else ""
        head = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-For: 1.2.3.4, {client}\r\n{upgrade}{key}\r\n"
        writer.write(head.encode())
        return int((await reader.readuntil(b"\r\n")).split()[1]), writer

    proxy = "127.0.1.1"

    async def attack() -> None:
        hostile = [await status("198.51.100.66", proxy, "/ws") for _ in range(2 * EACH)]
        assert 429 in {one for one, _ in hostile}
        others = [await status(f"198.51.100.{number}", proxy) for number in range(2 * EACH) if number != 66]
        assert {one for one, _ in others} == {200}, "as many as come through it"
        # Who is no proxy is counted as what he is, whatever he says.
        liars = [await status(f"198.51.100.{number}", HOSTILE) for number in range(EACH)]
        with socket.socket() as last:
            last.bind((HOSTILE, 0))
            last.setblocking(False)
            await asyncio.get_running_loop().sock_connect(last, ("127.0.0.1", few.port))
            last.send(HEAD)
            assert (await asyncio.get_running_loop().sock_recv(last, 99)).startswith(b"HTTP/1.1 429")
        for _, writer in (*hostile, *others, *liars):
            writer.close()
        await asyncio.sleep(0.1)

    await few.withstands(attack, lines=300)
