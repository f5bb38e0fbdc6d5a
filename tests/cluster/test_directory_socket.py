"""The directory on a Unix socket: loss of the connection, a server that stalls, and malformed frames."""

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import pytest

from sfu.cluster import directory_client, directory_server, wire
from sfu.cluster.directory_client import DirectoryClient
from sfu.cluster.directory_server import DirectoryServer
from sfu.cluster.memory_directory import MemoryBus, MemoryDirectory
from sfu.cluster.ports import NodeInfo, Unavailable

NODE = NodeInfo(id="a", instance="a1", url="")


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "directory.sock")


@pytest.fixture
async def client(path: str) -> AsyncIterator[DirectoryClient]:
    client = DirectoryClient(path)
    yield client
    await client.close()


async def test_a_restarted_server(path: str, client: DirectoryClient) -> None:
    with pytest.raises(Unavailable):
        await client.nodes()
    first = DirectoryServer(MemoryDirectory(), MemoryBus())
    await first.open(path)
    async with asyncio.timeout(20), aclosing(client.read(["one"])) as reader:  # type: ignore[type-var]
        assert not await client.announce(NODE)
        await client.publish("one", b"1")
        await client.publish("one", b"2")
        assert [await anext(reader), await anext(reader)] == [("one", b"1"), ("one", b"2")]
        await first.close()
        with pytest.raises(Unavailable):
            await client.nodes()
        # The numbers of the other bus do not count.
        second = DirectoryServer(MemoryDirectory(), MemoryBus())
        await second.open(path)
        assert await client.nodes() == {}
        await client.publish("one", b"3")
        assert await anext(reader) == ("one", b"3")
    await second.close()


async def test_a_reader_continues_where_its_connection_broke(path: str, client: DirectoryClient) -> None:
    server = DirectoryServer(MemoryDirectory(), MemoryBus())
    await server.open(path)
    async with asyncio.timeout(20), aclosing(client.read(["one"])) as reader:  # type: ignore[type-var]
        await server.bus.publish("one", b"1")
        assert await anext(reader) == ("one", b"1")
        await server.close()
        await server.bus.publish("one", b"2")
        await server.open(path)
        assert await anext(reader) == ("one", b"2")
    await server.close()


async def test_a_server_that_stalls(path: str, client: DirectoryClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(directory_client, "TIMEOUT", 0.1)
    released = asyncio.Event()

    async def stall(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await released.wait()
        writer.close()
        await writer.wait_closed()
        closed.set()

    closed = asyncio.Event()
    server = await asyncio.start_unix_server(stall, path)
    began = time.monotonic()
    answers = await asyncio.gather(*(client.nodes() for _ in range(100)), return_exceptions=True)
    assert all(isinstance(answer, Unavailable) for answer in answers)
    assert time.monotonic() - began < 10
    assert not client._pending
    released.set()
    await closed.wait()
    server.close()


@pytest.mark.parametrize(
    "data",
    [
        (wire.FRAME_LIMIT + 1).to_bytes(4),
        wire.frame("nonsense"),
        wire.frame([1, ["Announce", {"id": 1}]]),
        wire.frame([1, ["Unknown"]]),
        b"\x00\x00\x00\x01\xc1",
    ],
)
async def test_malformed_requests(path: str, client: DirectoryClient, data: bytes) -> None:
    server = DirectoryServer(MemoryDirectory(), MemoryBus())
    await server.open(path)
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(data)
    async with asyncio.timeout(20):
        assert await reader.read() == b""
    assert server.refused == 1
    writer.close()
    assert await client.nodes() == {}
    await server.close()


async def test_connections_have_a_limit(path: str, client: DirectoryClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(directory_server, "CONNECTIONS_LIMIT", 1)
    server = DirectoryServer(MemoryDirectory(), MemoryBus())
    await server.open(path)
    assert await client.nodes() == {}
    reader, writer = await asyncio.open_unix_connection(path)
    async with asyncio.timeout(20):
        assert await reader.read() == b""
    writer.close()
    assert await client.nodes() == {}
    await server.close()


async def test_the_socket_is_private(path: str) -> None:
    server = DirectoryServer(MemoryDirectory(), MemoryBus())
    await server.open(path)
    assert os.stat(path).st_mode & 0o777 == 0o600
    await server.close()


async def test_an_answer_of_the_wrong_type(path: str, client: DirectoryClient) -> None:
    async def lie(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = wire.decode_request(await wire.read_frame(reader))
        writer.write(wire.frame([request.number, "", {"a": 1}]))
        writer.close()
        await writer.wait_closed()
        closed.set()

    closed = asyncio.Event()
    server = await asyncio.start_unix_server(lie, path)
    with pytest.raises(Unavailable):
        await client.nodes()
    await closed.wait()
    server.close()
