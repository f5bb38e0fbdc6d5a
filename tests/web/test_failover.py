"""A meeting goes on when the worker process that serves it dies or stops: another worker continues the room."""

import asyncio
import os
import re
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import psutil
import pytest
import pytest_asyncio
from playwright.async_api import Browser

from tests.web.guest import Guest, gathering
from tests.web.server import ServerProcess, serve

SERVER_PORTS = """async () => {
    const stats = [...(await sfu.room.publisher.connection.getStats()).values()];
    return stats.filter(({ type }) => type === 'remote-candidate').map(({ port }) => port);
}"""
PEOPLE = """() => {
    const people = [sfu.room.state.me, ...sfu.room.state.participants.values()];
    return people.map(({ id, tracks }) => [id, tracks.map((track) => track.id)]);
}"""
UNSAVED = re.compile(r"^sfu_cluster_unsaved_rooms\S* (\S+)$", re.MULTILINE)
REBUILDS = "() => { window.rebuilds = 0; sfu.room.on('joined', ({ rebuilt }) => { window.rebuilds += rebuilt; }); }"


@pytest_asyncio.fixture(loop_scope="session")
async def workers(tmp_path: Path) -> AsyncIterator[ServerProcess]:
    async with serve(tmp_path / "log", {}, None, "--workers", "2") as server:
        yield server


async def serving(server: ServerProcess, guest: Guest) -> psutil.Process:
    """The worker process that exchanges media with a page."""
    ports = await guest.run(SERVER_PORTS)
    for worker in psutil.Process(server.process.pid).children():
        if any(connection.laddr.port in ports for connection in worker.net_connections(kind="udp")):
            return worker
    raise AssertionError(f"no worker has one of the ports {ports}")


async def saved(server: ServerProcess) -> None:
    """Waits until the directory has the rooms as they are: a kill loses what it does not have."""
    async with aiohttp.ClientSession() as client, asyncio.timeout(30):
        while True:
            async with client.get(f"{server.url}/metrics") as answer:
                values = UNSAVED.findall(await answer.text())
            assert values, "the metrics name no unsaved rooms"
            if not any(map(float, values)):
                return
            await asyncio.sleep(0.05)


async def people(guest: Guest) -> list[object]:
    return sorted(await guest.run(PEOPLE))


@pytest.mark.parametrize("way", [signal.SIGKILL, signal.SIGTERM], ids=["killed", "stopped"])
async def test_another_worker_continues_the_meeting(
    chromium: Browser, workers: ServerProcess, way: signal.Signals
) -> None:
    async with gathering(chromium, workers.url, "standup") as meeting:
        ada, bob = await meeting.join("Ada"), await meeting.join("Bob")
        hers, his = await ada.track(), await bob.track()
        await ada.sees(his)
        await bob.sees(hers)
        await ada.run("() => sfu.room.chat('Shall we start?')")
        await bob.until("the message", "() => sfu.room.state.chat.length === 1")
        await saved(workers)
        before = await people(ada)
        for guest in (ada, bob):
            await guest.run(REBUILDS)
        victim = await serving(workers, ada)
        os.kill(victim.pid, way)
        await rebuilt(ada, bob)
        await ada.sees(his)
        await bob.sees(hers)
        await ada.hears(await bob.track("microphone"))
        # The same people and tracks; no participant has left and joined.
        assert await people(ada) == await people(bob) == before
        assert (await serving(workers, ada)).pid == (await serving(workers, bob)).pid != victim.pid
        for guest in (ada, bob):
            assert await guest.run("() => sfu.room.state.chat.map(({ text }) => text)") == ["Shall we start?"]
            assert guest.failures == []
        await bob.run("() => sfu.room.chat('Yes.')")
        await ada.until("the next message", "() => sfu.room.state.chat.length === 2")


async def rebuilt(*guests: Guest) -> None:
    for guest in guests:
        await guest.until("a rebuild", "() => window.rebuilds > 0 && sfu.room.state.phase === 'joined'")
