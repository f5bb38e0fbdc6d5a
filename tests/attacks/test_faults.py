"""Bad days: people who come and go without end, descriptors that run out, a client whose network is gone for a while.

Afterwards everything is as before: sessions, connections, tasks, descriptors, memory.
"""

import asyncio
import os
import resource
import time
from collections.abc import AsyncIterator
from itertools import count

import aiohttp
import pytest
import pytest_asyncio

from tests.attacks.field import Field

pytestmark = pytest.mark.asyncio(loop_scope="session")

ROUNDS = 4
CHURN = float(os.environ.get("CHURN_SECONDS", "12")) / ROUNDS
"""Seconds of each round."""
NUMBER = count()
JOINS = 17.0
"""A second: a thousand a minute."""
ARENAS = 2_000_000
"""Bytes by which the allocator's own may differ; of those who have left nothing is there any more."""


class Base:
    """Resources of a server without visitors, to compare with those after the visitors have left."""

    GAUGES = (
        "sfu_sessions", "sfu_participants", "sfu_rooms", "sfu_signaling_sockets", "sfu_peers:new", "sfu_peers:connecting",
        "sfu_peers:connected", "sfu_tracks:audio", "sfu_tracks:video", "sfu_subscriptions:audio", "sfu_subscriptions:video",
        "sfu_tasks",
    )  # fmt: skip

    def __init__(self, field: Field) -> None:
        self._field = field
        self._gauges, self._descriptors = field.metrics(), field.descriptors()

    async def returns(self, seconds: float = 10.0, descriptors: int = 2) -> None:
        """Fails if it does not. `descriptors`: that may be open beside it, as of connections that are kept alive."""
        deadline = time.monotonic() + seconds
        while True:
            now = self._field.metrics()
            left = {name: now.get(name, 0) - self._gauges.get(name, 0) for name in self.GAUGES}
            left["descriptors"] = max(0, self._field.descriptors() - self._descriptors - descriptors)
            left = {name: value for name, value in left.items() if value > (descriptors if name == "sfu_tasks" else 0)}
            if not left:
                return
            assert time.monotonic() < deadline, left
            await asyncio.sleep(0.1)


@pytest_asyncio.fixture(loop_scope="session")
async def forgetful() -> AsyncIterator[Field]:
    """A server with short timeouts, so that it soon returns to the baseline."""
    opened = Field("--set", "signaling.resume_window=0.5", "--set", "rooms.idle_timeout=0.5")
    await opened.open()
    yield opened
    await opened.close()


async def test_a_thousand_joins_and_leaves_a_minute_leave_nothing_behind(
    forgetful: Field, http: aiohttp.ClientSession
) -> None:
    async def visit(number: int) -> None:
        client = forgetful.attacker(http, f"visitor{next(NUMBER)}", room=f"churn{number % 3}")
        await client.join()
        if number % 2:
            await client.publish()
            client.send()
        if number % 3:
            await forgetful.leave(client)
        else:  # a page that is reloaded says goodbye by closing its socket
            await client.close()

    async def attack() -> None:
        async with asyncio.TaskGroup() as visits:
            for number in range(int(CHURN * JOINS)):
                visits.create_task(visit(number))
                await asyncio.sleep(1 / JOINS)

    base = Base(forgetful)
    sizes = []
    for _ in range(ROUNDS):
        grown = await forgetful.withstands(attack, lines=int(300 + 10 * CHURN * JOINS), memory=25_000_000)
        assert grown["sfu_participants_joined_total"] >= int(CHURN * JOINS)
        await base.returns()
        sizes.append(forgetful.memory())
    print("MB after each round:", *(round(size / 1e6, 1) for size in sizes))
    # The first rounds fill caches and the allocator's arenas.
    assert sizes[-1] - sizes[ROUNDS // 2 - 1] <= ARENAS, sizes


async def test_descriptors_that_run_out_end_nothing(field: Field, http: aiohttp.ClientSession) -> None:
    base, descriptors = Base(field), field.descriptors()
    pid = field.server.pid
    limits = resource.prlimit(pid, resource.RLIMIT_NOFILE)

    async def attack() -> None:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (descriptors + 10, limits[1]))
        opened = []
        try:
            for _ in range(60):
                _, writer = await asyncio.open_connection("127.0.0.1", field.port)
                opened.append(writer)
            await asyncio.sleep(0.5)
        finally:
            for writer in opened:
                writer.close()
            resource.prlimit(pid, resource.RLIMIT_NOFILE, limits)
        await asyncio.sleep(1.5)

    await field.withstands(attack, lines=40)
    client = field.attacker(http, "afterwards")
    assert (await client.join())["type"] == "joined"
    await field.leave(client)
    await base.returns(descriptors=5)
