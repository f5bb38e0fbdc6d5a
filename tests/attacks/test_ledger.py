"""In = out and what was counted as dropped, packet by packet and route by route, seen from outside of a real server.

`make soak` has it go on for DURATION seconds, while people come to the room and go.
"""

import asyncio
import os
import time
from collections import Counter
from collections.abc import AsyncIterator
from itertools import count

import aiohttp
import pytest
import pytest_asyncio

from tests.attacks.field import Field, Metrics
from tests.attacks.ledger import RIDS, LedgerRoom
from tests.support.wire import rtp

pytestmark = pytest.mark.asyncio(loop_scope="session")

CHURN = float(os.environ.get("CHURN_SECONDS", "5"))
NUMBER = count()
FORGED, REPLAYED, HOMELESS = 20, 5, 7


@pytest_asyncio.fixture(loop_scope="session")
async def room(server: Field, http: aiohttp.ClientSession) -> AsyncIterator[LedgerRoom]:
    opened = LedgerRoom(server, http)
    yield opened
    await opened.close(server)


@pytest_asyncio.fixture(loop_scope="session")
async def server() -> AsyncIterator[Field]:
    """A server of its own, so that all counters belong to the ledger's room. It sends the requested layers on any path."""
    opened = Field("--set", "bandwidth.enabled=false")
    await opened.open(honest=False)
    yield opened
    await opened.close()


def dropped(grown: Metrics) -> dict[str, float]:
    name = "sfu_packets_dropped_total:"
    return {key.removeprefix(name): value for key, value in grown.items() if key.startswith(name) and value}


def grown(field: Field, before: Metrics) -> Metrics:
    return {name: value - before.get(name, 0.0) for name, value in field.metrics().items()}


async def begun(room: LedgerRoom) -> None:
    """All viewers get the largest layer."""
    await room.open()
    for _ in range(100):
        await room.run(5)
        shown = [room.listener(name).account.pictures[-1:] for name in room.people]
        if all(each and each[0][1] == RIDS["f"][0] for each in shown):
            return
    raise AssertionError(shown)


async def test_the_ledger_is_exact(server: Field, room: LedgerRoom) -> None:
    await begun(room)
    await room.settle()
    since, before = Counter(room.camera.sent), server.metrics()
    total, got = room.camera.total, sum(room.listener(name).account.total for name in room.people)
    repaired, asked = (room.listener("losing").account.repairs, room.listener("losing").asked)
    fickle = room.people["fickle"]

    await room.run(50)
    await room.subscribe(fickle, width=320, height=180)
    await room.run(50)
    await room.subscribe(fickle, paused=True)
    await room.run(30)
    await room.subscribe(fickle, paused=False, width=640, height=360)
    await room.run(50)
    await room.run(100, "q", "h")  # a narrow uplink: the largest layer ends, and comes back
    await room.run(100)
    assert room.camera.tx is not None
    for number in range(FORGED):
        sealed = bytearray(room.camera.tx.session.protect(rtp(b"x" * 50, ssrc=99, sequence=number + 1, timestamp=1)))
        sealed[-1] ^= 1
        room.camera.sock.sendto(sealed, room.camera.server)
    for number in range(HOMELESS):  # authentic, and of no track
        room.camera.send(rtp(b"x" * 50, ssrc=77, sequence=number + 1, timestamp=1))
    again = room.camera.tx.session.protect(rtp(b"x" * 50, ssrc=77, sequence=HOMELESS + 1, timestamp=1))
    for _ in range(1 + REPLAYED):
        room.camera.sock.sendto(again, room.camera.server)
    await room.settle()

    after = grown(server, before)
    homeless = HOMELESS + 1
    assert dropped(after) == {"srtp": FORGED + REPLAYED, "unrouted": homeless}
    assert after["sfu_packets_total:received"] == room.camera.total - total + homeless
    out = sum(room.listener(name).account.total for name in room.people) - got
    assert after["sfu_packets_total:sent"] == out
    repairs = room.listener("losing").account.repairs - repaired
    assert after["sfu_retransmissions_total:sent"] == repairs
    assert repairs == room.listener("losing").asked - asked > 50
    delivered = 0
    for name in room.people:
        fates = room.fates(name, since)
        assert sum(fates.values()) == room.camera.total - total, name
        layers = {one.ssrc for one in room.listener(name).account.stretches()}
        assert len(layers) >= (3 if name == "fickle" else 2), name
        delivered += fates["delivered"]
    padding = sum(room.listener(name).account.padding for name in room.people)
    assert padding == 0
    assert out == delivered + repairs


async def test_the_ledger_is_exact_while_people_come_and_go(
    server: Field, room: LedgerRoom, http: aiohttp.ClientSession
) -> None:
    await begun(room)
    await room.settle()
    before, total = server.metrics(), room.camera.total
    going_on = True

    async def visit() -> None:
        """A participant stays briefly and leaves, with or without a message."""
        number = next(NUMBER)
        client = server.attacker(http, f"visitor{number}", "ledger")
        await client.join()
        if number % 2:
            await client.until(lambda: client.subscribing.tx)
            await asyncio.sleep(0.1)
        if number % 3:
            await server.leave(client)
        else:
            await client.close()

    async def churn() -> None:
        while going_on:
            async with asyncio.TaskGroup() as visits:
                for _ in range(3):
                    visits.create_task(visit())
            await asyncio.sleep(0.1)

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(churn())
        end = time.monotonic() + CHURN
        fickle, requests = room.people["fickle"], 0
        while time.monotonic() < end:
            since, round_total = Counter(room.camera.sent), room.camera.total
            for name in room.people:
                room.listener(name).account.close()
            round_end = min(end, time.monotonic() + 10)
            while time.monotonic() < round_end:
                requests += 1
                _, width, height = list(RIDS.values())[requests % 3]
                await room.subscribe(fickle, width=width, height=height, paused=requests % 4 == 0)
                await room.run(25)
            await room.settle()
            for name in room.people:
                assert sum(room.fates(name, since).values()) == room.camera.total - round_total
        going_on = False
    after = grown(server, before)
    assert after["sfu_participants_joined_total"] > 3
    found = dropped(after)
    # What is sent to and comes from those who have just left, none of which is media.
    assert set(found) <= {"socket_error", "unknown_address", "stun_unknown_user"}, found
    assert after["sfu_packets_total:received"] == room.camera.total - total
