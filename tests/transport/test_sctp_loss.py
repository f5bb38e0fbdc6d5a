"""Reliable messages through the guard while one packet in ten is lost: each arrives once, in order.

The number of messages is `SCTP_MESSAGES`, 20,000 by default; `make soak` sends a million. Time is virtual: whenever
nothing is under way any more, the association's retransmission timer is let run out.
"""

import asyncio
import os
import random
from struct import pack, unpack

from sfu.transport.sctp_guard import SctpLimits
from tests.transport.test_sctp_guard import Pair

MESSAGES = int(os.environ.get("SCTP_MESSAGES", "20000"))
WAITING = 256
"""Messages handed over at a time."""


async def expire(pair: Pair) -> None:
    for end in (pair.client, pair.server):
        if end._t3_handle is not None:
            end._t3_handle.cancel()
            end._t3_expired()
    await asyncio.sleep(0)


async def test_each_message_arrives_once_and_in_order_at_ten_per_cent_loss() -> None:
    chance = random.Random(10)
    pair = Pair(SctpLimits())
    await pair.start()
    channel = pair.open("reliable")
    await pair.run()
    assert channel.readyState == "open"
    pair.lose = lambda number: chance.random() < 0.1
    sent = arrived = 0
    while arrived < MESSAGES:
        while sent < MESSAGES and sent - arrived < WAITING:
            channel.send(pack("!I", sent) * (1 + sent % 40))
            sent += 1
        await pair.run()
        for side in pair.said:
            side.clear()
        before, got = arrived, pair.received[:]
        pair.received.clear()
        for message in got:
            assert isinstance(message, bytes)
            assert message == pack("!I", arrived) * (1 + arrived % 40), unpack("!I", message[:4])
            arrived += 1
        if arrived == before or pair.client._sent_queue:
            await expire(pair)
    pair.lose = lambda number: False
    await pair.run()
    assert (arrived, pair.received) == (MESSAGES, [])
    await pair.stop()
