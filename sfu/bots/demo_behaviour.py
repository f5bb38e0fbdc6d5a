"""What demonstration bots do besides being seen: a line of chat and a raised hand now and then."""

import asyncio
import random
import time
from typing import Final

from sfu.bots.client import SignalingClient
from sfu.errors import RemoteError
from sfu.signaling import messages as m

LINES: Final = (
    "Hello! We are bots; our pictures are drawn and encoded by a process beside the server.",
    "Open this page in a second window and you are one more.",
    "The block in the corner of my picture says when it was drawn: that is how latency is measured.",
    "I publish three sizes at once. You get the one that fits my tile.",
    "My face is a disc, but my timing is good.",
    "Try the speaker layout: we take turns.",
    "Anybody here who can hear colours?",
)
FIRST_AFTER: Final = 5.0
PAUSE: Final = (45.0, 120.0)
HAND_UP: Final = 8.0
"""Seconds that a hand stays up."""


async def run_demo_behaviour(client: SignalingClient, index: int, count: int) -> None:
    """Runs until cancelled. The bots say the lines in turn, so that none is said twice in a row."""
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
            pass  # not allowed to, or just away: mingling is not worth an end
        await asyncio.sleep(random.uniform(*PAUSE) * count / 3)
