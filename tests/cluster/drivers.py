"""The drivers of the ports, for the contract tests."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass

from sfu.cluster.memory_directory import MemoryBus, MemoryDirectory
from sfu.cluster.ports import Bus, Directory


@dataclass(frozen=True, slots=True)
class Driver:
    directory: Directory
    bus: Bus


@asynccontextmanager
async def memory() -> AsyncIterator[Driver]:
    yield Driver(MemoryDirectory(), MemoryBus())


DRIVERS: dict[str, Callable[[], AbstractAsyncContextManager[Driver]]] = {"memory": memory}
