"""Direct requests to other nodes: proof that a process is dead, and announcements through a peer.

A node that does not reach the directory asks its peers. One that reaches it announces the node; if all answer that they do
not reach it either, no node can claim a room, and all go on.
"""

import asyncio
import enum
from typing import Protocol
from urllib.parse import urlsplit

import msgspec

from sfu.cluster.ports import NodeInfo

CONNECT_TIMEOUT = 1.0
DEATH_PROOF = 0.1
"""Seconds for which a port must refuse connections. Some connections still succeed just after a process was killed."""
ATTEMPTS = 5


class PeerAnswer(enum.Enum):
    RENEWED = enum.auto()
    "The peer has renewed the lease."
    NO_DIRECTORY = enum.auto()
    "The peer does not reach the directory either."
    NONE = enum.auto()
    "The peer does not answer, or the lease has ended."


class Peers(Protocol):
    """Requests to peers over their internal HTTP servers."""

    async def announce(self, peer: NodeInfo, node: NodeInfo) -> PeerAnswer:
        """Asks a peer to announce this node. Takes at most 1 s; does not raise."""


def encode_node(node: NodeInfo) -> bytes:
    return msgspec.msgpack.encode(node)


def decode_node(data: bytes) -> NodeInfo:
    """Raises ValueError."""
    return msgspec.msgpack.decode(data, type=NodeInfo)


async def is_dead(node: NodeInfo) -> bool:
    """Whether the machine of a node refuses connections to its internal HTTP server: the process does not exist any more.

    A timeout proves nothing: the node may be cut off from this one only."""
    for attempt in range(ATTEMPTS):
        if attempt:
            await asyncio.sleep(DEATH_PROOF / (ATTEMPTS - 1))
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT):
                await _connect(node.url)
        except (ConnectionRefusedError, FileNotFoundError):
            continue
        except (OSError, TimeoutError, ValueError):
            return False
        return False
    return True


async def _connect(url: str) -> None:
    """Raises OSError and ValueError."""
    if url.startswith("unix:"):
        _, writer = await asyncio.open_unix_connection(url.removeprefix("unix:"))
    else:
        parts = urlsplit(url)
        _, writer = await asyncio.open_connection(parts.hostname, parts.port or 80)
    writer.close()
