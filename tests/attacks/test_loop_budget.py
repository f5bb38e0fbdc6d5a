"""A participant whose inputs are each within bounds and together more than its share of the event loop."""

import asyncio
import time

import aiohttp
import pytest

from sfu.forwarding.loop_budget import MEDIA_BURST, MEDIA_SHARE, PATIENCE, UNAUTHENTICATED_BURST, UNAUTHENTICATED_SHARE
from tests.attacks.field import Field
from tests.attacks.sctp import Association, data

pytestmark = pytest.mark.asyncio(loop_scope="session")

USED = "sfu_loop_budget_seconds_total:media"
UNAUTHENTICATED_BUDGET = "sfu_loop_budget_seconds_total:unauthenticated"
DROPPED = "sfu_packets_dropped_total:loop_budget"
DISCONNECTS = "sfu_loop_budget_disconnects_total"
HONEST = 0.02
"""Share of the loop that the honest pair may have taken in the meantime."""


async def test_a_flood_of_valid_messages_is_throttled_then_disconnected(
    field: Field, http: aiohttp.ClientSession
) -> None:
    """Small messages on a data channel cost the most per byte; no rate limit of media or signalling applies to them."""
    spent: list[tuple[float, float]] = []

    async def attack() -> None:
        client = field.attacker(http, "greedy")
        await client.join(auto_subscribe=False)
        association = Association(client)
        await association.open()
        began, used = time.monotonic(), field.metrics()[USED]
        while not client.closed.is_set() and time.monotonic() - began < 4 * PATIENCE:
            for _ in range(15):
                association.send(*[data(association.tsn + n, b"x", ppid=53, sequence=n) for n in range(20)])
                association.tsn += 20
            await asyncio.sleep(0.005)
        spent.append((time.monotonic() - began, field.metrics()[USED] - used))
        leave = await client.event("leave")
        assert leave["message"] == "This connection takes too much of the server's time."
        await client.close()

    grown = await field.withstands(attack, counted=(DROPPED, DISCONNECTS))
    assert grown[DISCONNECTS] == 1
    elapsed, used = spent[-1]
    assert elapsed > PATIENCE
    assert used < MEDIA_BURST + (MEDIA_SHARE + HONEST) * elapsed + 0.05, (elapsed, used)


async def test_strangers_on_many_connections_take_their_share_together(field: Field) -> None:
    """Each of 150 connections asks for the page again and again; the page costs some 0.2 ms each time."""
    spent: list[tuple[float, float]] = []

    async def attack() -> None:
        began, used = time.monotonic(), field.metrics()[UNAUTHENTICATED_BUDGET]
        await asyncio.gather(*[ask(field, began + 4.0) for _ in range(150)])
        spent.append((time.monotonic() - began, field.metrics()[UNAUTHENTICATED_BUDGET] - used))

    await field.withstands(attack, lines=100_000, memory=12_000_000)
    elapsed, used = spent[-1]
    assert used < UNAUTHENTICATED_BURST + UNAUTHENTICATED_SHARE * elapsed + 0.1, (elapsed, used)


async def ask(field: Field, until: float) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", field.port)
    try:
        while time.monotonic() < until:
            writer.write(b"GET /api/openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n" * 4)
            await asyncio.wait_for(reader.read(65_536), 20)
    finally:
        writer.close()
