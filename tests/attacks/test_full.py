"""A server without free memory or descriptors refuses newcomers with a reason, and its participants do not notice."""

import asyncio
import os
import re
import resource
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest

from tests.attacks.field import Field
from tests.support.client import Client

pytestmark = pytest.mark.asyncio(loop_scope="session")

ROOM = 30_000_000
"""Bytes that the server is given beside what it takes when it is empty."""
MARK = 0.9
CROWD = 400
"""Far more than fit into that."""


@asynccontextmanager
async def opened(*settings: str) -> AsyncIterator[Field]:
    field = Field(*(word for setting in settings for word in ("--set", setting)))
    await field.open(honest=False)
    try:
        yield field
    finally:
        await field.close()


async def refusal(field: Field, http: aiohttp.ClientSession) -> tuple[int, str, str, str]:
    """Status, code, message and Retry-After of the answer to another socket; status 101 if it is let in."""
    headers = {
        "Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==", "Sec-WebSocket-Protocol": "sfu",
    }  # fmt: skip
    async with http.get(f"{field.url}/ws", headers=headers) as answer:
        if answer.status == 101:
            return 101, "", "", ""
        said = await answer.json()
        return answer.status, said["code"], said["message"], answer.headers["Retry-After"]


async def hear_each_other(speaker: Client, listener: Client) -> int:
    """Packets of 20 that arrived."""
    while not any(packet.payload_type == 111 for packet in listener.media()):
        speaker.send()
        await asyncio.sleep(0.02)
    await asyncio.sleep(0.1)
    listener.media()
    heard = 0
    for _ in range(20):
        speaker.send()
        await asyncio.sleep(0.02)
        heard += sum(packet.payload_type == 111 for packet in listener.media())
    await asyncio.sleep(0.1)
    return heard + sum(packet.payload_type == 111 for packet in listener.media())


async def test_joins_end_before_the_memory_does(http: aiohttp.ClientSession) -> None:
    async with opened() as field:
        empty = field.memory()
    allowed = int((empty + ROOM) / MARK)
    async with opened(f"node.memory={allowed}", f"node.memory_limit={MARK}", "rooms.max_participants=400") as field:
        ada, bob = field.attacker(http, "ada"), field.attacker(http, "bob")
        await ada.join()
        await ada.publish()
        await bob.join()
        await bob.until(lambda: bob.subscribing.tx)
        crowd = [ada, bob]
        for number in range(CROWD):
            client = field.attacker(http, f"crowd{number}", room=f"crowd{number % 20}")
            crowd.append(client)
            try:
                joined = await client.join()
            except aiohttp.WSServerHandshakeError as refused:
                turned_away = refused.status
                break
            if joined["type"] == "error":  # memory was looked at between the handshake and the join, which asks again
                assert joined["code"] == "at_capacity"
                turned_away = 503
                break
            await client.publish()
        else:
            raise AssertionError("every client was accepted")
        assert turned_away == 503
        assert len(crowd) > 10
        assert field.memory() < allowed
        status, code, message, later = await refusal(field, http)
        assert (status, code) == (503, "at_capacity")
        assert re.fullmatch(r"This server is full: memory usage is 9\d%, the limit is 90%. Try again later.", message)
        assert int(later) > 0
        metrics = field.metrics()
        assert metrics["sfu_joins_refused_total:capacity"] >= 2
        assert metrics["sfu_capacity_ratio:memory"] == pytest.approx(
            metrics["sfu_memory_used_bytes"] / metrics["sfu_memory_limit_bytes"]
        )
        assert metrics["sfu_capacity_used_ratio"] >= MARK
        async with http.get(f"{field.url}/readyz") as ready:
            assert ready.status == 200
        assert await hear_each_other(ada, bob) == 20
        await field.leave(*crowd)


async def test_joins_end_before_descriptors_do(http: aiohttp.ClientSession) -> None:
    async with opened() as field:
        ada, bob = field.attacker(http, "ada"), field.attacker(http, "bob")
        await ada.join()
        await ada.publish()
        await bob.join()
        await bob.until(lambda: bob.subscribing.tx)
        assert field.server.pid
        before = resource.prlimit(field.server.pid, resource.RLIMIT_NOFILE)
        full = len(os.listdir(f"/proc/{field.server.pid}/fd"))
        resource.prlimit(field.server.pid, resource.RLIMIT_NOFILE, (full + 3, before[1]))
        await asyncio.sleep(0.6)  # a look holds so long
        status, code, message, _ = await refusal(field, http)
        assert (status, code) == (503, "at_capacity")
        assert "file descriptor usage is" in message
        assert await hear_each_other(ada, bob) == 20
        resource.prlimit(field.server.pid, resource.RLIMIT_NOFILE, before)
        await asyncio.sleep(0.6)
        eve = field.attacker(http, "eve")
        assert (await eve.join())["type"] == "joined"
        await field.leave(ada, bob, eve)
