"""The drivers of the ports, for the contract tests."""

import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass

from sfu.cluster.directory_client import DirectoryClient
from sfu.cluster.directory_server import DirectoryServer
from sfu.cluster.memory_directory import MemoryBus, MemoryDirectory
from sfu.cluster.ports import Bus, Directory


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


DRIVERS: dict[str, Callable[[], AbstractAsyncContextManager[Driver]]] = {"memory": memory, "unix_socket": unix_socket}
