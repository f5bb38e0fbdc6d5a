"""The drivers of the ports, for the contract tests."""

import atexit
import os
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sfu.cluster.directory_client import DirectoryClient
from sfu.cluster.directory_server import DirectoryServer
from sfu.cluster.memory_directory import MemoryBus, MemoryDirectory
from sfu.cluster.ports import Bus, Directory
from sfu.cluster.redis_bus import RedisBus
from sfu.cluster.redis_directory import RedisDirectory
from tests.support.certificate import self_signed
from tests.support.redis import RedisServer, require_redis


@dataclass(frozen=True, slots=True)
class Driver:
    directory: Directory
    bus: Bus


@asynccontextmanager
async def memory() -> AsyncIterator[Driver]:
    yield Driver(MemoryDirectory(), MemoryBus())


@asynccontextmanager
async def unix_socket() -> AsyncIterator[Driver]:
    server = DirectoryServer(MemoryDirectory(), MemoryBus())
    with tempfile.TemporaryDirectory() as folder:
        await server.open(f"{folder}/directory.sock")
        client = DirectoryClient(f"{folder}/directory.sock")
        yield Driver(client, client)
        await client.close()
        await server.close()


def redis_server(name: str) -> Callable[[], AbstractAsyncContextManager[Driver]]:
    """All tests of a process share a server; each has its own keys."""

    @asynccontextmanager
    async def driver() -> AsyncIterator[Driver]:
        async with connected(await _shared_server(name), redis_prefix=os.urandom(8).hex()) as found:
            yield found

    return driver


_servers: dict[str, RedisServer] = {}


async def _shared_server(name: str) -> RedisServer:
    if name not in _servers:
        require_redis()
        folder = tempfile.TemporaryDirectory()
        path = Path(folder.name)
        server = RedisServer(
            path,
            cluster=name == "cluster",
            sentinel=name == "sentinel",
            certificate=self_signed(path) if name == "tls" else None,
        )
        atexit.register(folder.cleanup)
        atexit.register(server.kill)
        await server.start()
        _servers[name] = server
    return _servers[name]


@asynccontextmanager
async def connected(server: RedisServer, **settings: Any) -> AsyncIterator[Driver]:
    directory, bus = RedisDirectory(server.settings(**settings)), RedisBus(server.settings(**settings))
    try:
        yield Driver(directory, bus)
    finally:
        await directory.close()
        await bus.close()


DRIVERS: dict[str, Callable[[], AbstractAsyncContextManager[Driver]]] = {
    "memory": memory,
    "unix_socket": unix_socket,
    "redis": redis_server("plain"),
    "redis_tls": redis_server("tls"),
    "redis_cluster": redis_server("cluster"),
    "redis_sentinel": redis_server("sentinel"),
}
