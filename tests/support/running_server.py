"""A complete server in this process on loopback ports, for tests of egress and ingest."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Protocol

import aiohttp

from sfu.app import Server
from sfu.config import load
from tests.support.admin import SECRET

SETTINGS = {
    "http.host": "127.0.0.1",
    "http.port": "0",
    "rtc.udp_port": "0",
    "rtc.bind": '["127.0.0.1"]',
    "rtc.include_loopback": "true",
    "auth.keys": f'{{key: "{SECRET}"}}',
}


class Part(Protocol):
    """A part of the server with periodic work."""

    async def run(self) -> None: ...


@asynccontextmanager
async def running_server(
    settings: Mapping[str, str], parts: Callable[[Server], Iterable[Part]]
) -> AsyncIterator[tuple[Server, aiohttp.ClientSession]]:
    """`settings`: besides `SETTINGS`. `parts`: those that run in addition to what the server starts itself."""
    server = Server(load(flags=(SETTINGS | dict(settings)).items()))
    await server.open()
    timers = [asyncio.create_task(part.run()) for part in parts(server)]
    try:
        async with aiohttp.ClientSession() as http:
            yield server, http
    finally:
        for timer in timers:
            timer.cancel()
        await server.close()


def dotted(settings: Mapping[str, str]) -> dict[str, str]:
    """Settings from keyword arguments: `rtc__udp_port` is `rtc.udp_port`."""
    return {name.replace("__", "."): value for name, value in settings.items()}


async def until(check: Callable[[], object], seconds: float = 30.0) -> float:
    """Waits until the condition is true and returns the seconds that it took."""
    began = time.monotonic()
    while not check():
        assert time.monotonic() - began < seconds, "the condition did not become true in time"
        await asyncio.sleep(0.05)
    return time.monotonic() - began
