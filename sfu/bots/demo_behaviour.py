"""Behaviour of demo bots: occasional chat messages and raised hands."""

import asyncio
import random
import time
from typing import Final

from sfu.bots.client import SignalingClient
from sfu.errors import RemoteError
from sfu.signaling import messages as m

LINES: Final = (
    "Hello! We are bots. A separate process draws and encodes our pictures.",
    "Open this page in a second window to join as another participant.",
    "The block in the corner of my picture encodes the time at which it was drawn, to measure latency.",
    "I publish three sizes at once. You receive the one that fits my tile.",
    "My face is a disc, but my timing is good.",
    "Try the speaker layout: we take turns.",
    "Can anyone here hear colours?",
)
FIRST_AFTER: Final = 5.0
PAUSE: Final = (45.0, 120.0)
HAND_UP: Final = 8.0
"""Seconds that a hand stays up."""


async def run_demo_behaviour(client: SignalingClient, index: int, count: int) -> None:
    """Runs until cancelled. The bots take the lines in turn, so that none repeats in a row."""
    await asyncio.sleep(FIRST_AFTER * (1 + index))
    number = index
    while True:
        try:
            await client.request(m.Chat(id=0, text=LINES[number % len(LINES)]))
            number += count
            await asyncio.sleep(random.uniform(*PAUSE) * count / 3)
            await client.request(m.UpdateMetadata(id=0, attributes={"hand": str(int(time.time()))}))
            await asyncio.sleep(HAND_UP)
            await client.request(m.UpdateMetadata(id=0, attributes={"hand": ""}))
        except (RemoteError, ConnectionError):
            pass  # not permitted or reconnecting: try again later
        await asyncio.sleep(random.uniform(*PAUSE) * count / 3)
