"""Bad days: people who come and go without end, descriptors that run out, a client whose network is gone for a while.

Afterwards everything is as before: sessions, connections, descriptors; and every packet is accounted for.
"""

import asyncio
import os
import resource
import time
from itertools import count

import aiohttp
import pytest

from tests.attacks.field import Field

pytestmark = pytest.mark.asyncio(loop_scope="session")

CHURN = float(os.environ.get("CHURN_SECONDS", "5"))
NUMBER = count()
JOINS = 17.0
"""A second: a thousand a minute."""


async def settled(field: Field, before: dict[str, float], descriptors: int) -> None:
    names = ("sfu_sessions", "sfu_participants", "sfu_peers:connected", "sfu_signaling_sockets", "sfu_tracks:video")
    deadline = time.monotonic() + 10
    while True:
        now = field.metrics()
        left = {
            name: now.get(name, 0) - before.get(name, 0) for name in names if now.get(name, 0) > before.get(name, 0)
        }
        if not left and field.descriptors() <= descriptors + 2:
            return
        assert time.monotonic() < deadline, (left, field.descriptors() - descriptors)
        await asyncio.sleep(0.1)


async def test_a_thousand_joins_and_leaves_a_minute_leave_nothing_behind(
    field: Field, http: aiohttp.ClientSession
) -> None:
    before, descriptors = field.metrics(), field.descriptors()

    async def visit(number: int) -> None:
        client = field.attacker(http, f"visitor{next(NUMBER)}", room=f"churn{number % 3}")
        await client.join()
        if number % 2:
            await client.publish()
            client.send()
        if number % 3:
            await field.leave(client)
        else:  # a page that is reloaded says goodbye by closing its socket
            client.publishing.close()
            client.subscribing.close()
            await client._socket.close()
            await client._reader

    async def attack() -> None:
        async with asyncio.TaskGroup() as visits:
            for number in range(int(CHURN * JOINS)):
                visits.create_task(visit(number))
                await asyncio.sleep(1 / JOINS)

    grown = await field.withstands(attack, lines=2000, memory=25_000_000)
    assert grown["sfu_participants_joined_total"] >= int(CHURN * JOINS)
    assert field.descriptors() <= descriptors + 5
    assert field.metrics()["sfu_tracks:video"] <= before["sfu_tracks:video"] + int(CHURN * JOINS)


async def test_descriptors_that_run_out_end_nothing(field: Field, http: aiohttp.ClientSession) -> None:
    before, descriptors = field.metrics(), field.descriptors()
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
    await settled(field, before, descriptors + 3)


async def test_the_ledger_is_exact(field: Field, http: aiohttp.ClientSession) -> None:
    """What went in is what came out and what was counted as dropped; seen from both ends of a room of two."""
    sender, receiver = (field.attacker(http, name, room="ledger") for name in ("sender", "receiver"))
    await sender.join()
    await sender.publish()
    await receiver.join()
    await receiver.until(lambda: receiver.subscribing.tx)
    while not any(packet.payload_type == 111 for packet in receiver.media()):
        sender.send()
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.2)
    receiver.media()
    got = []
    for _ in range(50):
        sender.send()
        await asyncio.sleep(0.01)
        got += receiver.media()
    await asyncio.sleep(0.2)
    got += receiver.media()
    sound = [packet.sequence for packet in got if packet.payload_type == 111]
    assert len(sound) == len(set(sound)) == 50
    await field.leave(sender, receiver)
