"""Messages between worker processes and the directory of their parent: length-prefixed MessagePack on a Unix socket.

A connection carries requests and their responses in any order, or, after `Subscribe`, messages of the bus.
"""

import asyncio
from typing import TypeVar

import msgspec

from sfu.cluster.ports import MESSAGE_LIMIT_BYTES, SNAPSHOT_LIMIT_BYTES, Home, NodeInfo

FRAME_LIMIT = SNAPSHOT_LIMIT_BYTES + MESSAGE_LIMIT_BYTES
LENGTH_BYTES = 4

T = TypeVar("T")


class Operation(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """A method of `Directory` or `Bus` with its arguments."""


class Announce(Operation, frozen=True):
    node: NodeInfo


class Withdraw(Operation, frozen=True):
    instance: str


class Nodes(Operation, frozen=True):
    pass


class FindHome(Operation, frozen=True):
    room: str


class Claim(Operation, frozen=True):
    room: str
    claimant: Home
    over: str


class Release(Operation, frozen=True):
    room: str
    home: Home


class Save(Operation, frozen=True):
    room: str
    home: Home
    snapshot: bytes


class Load(Operation, frozen=True):
    room: str


class Publish(Operation, frozen=True):
    stream: str
    message: bytes


class Subscribe(Operation, frozen=True):
    """`bus`: id of the bus to which the numbers belong; the numbers of another bus do not count."""

    bus: str
    positions: dict[str, int]


AnyOperation = Announce | Withdraw | Nodes | FindHome | Claim | Release | Save | Load | Publish | Subscribe


class Request(msgspec.Struct, frozen=True, array_like=True):
    number: int
    operation: AnyOperation


class Response(msgspec.Struct, frozen=True, array_like=True):
    """`error`: `unavailable`, `fenced`, `invalid`, or empty. `value`: the result, or the message of the error."""

    number: int
    error: str
    value: msgspec.Raw


class Delivery(msgspec.Struct, frozen=True, array_like=True):
    """A message of the bus; the first one after `Subscribe` has no stream and carries the id of the bus."""

    stream: str
    number: int
    message: bytes


encode = msgspec.msgpack.Encoder().encode
decode_request = msgspec.msgpack.Decoder(Request).decode
decode_response = msgspec.msgpack.Decoder(Response).decode
decode_delivery = msgspec.msgpack.Decoder(Delivery).decode


def decode_value(raw: msgspec.Raw, kind: type[T]) -> T:
    return msgspec.msgpack.decode(raw, type=kind)


def frame(message: object) -> bytes:
    data = encode(message)
    return len(data).to_bytes(LENGTH_BYTES) + data


async def read_frame(reader: asyncio.StreamReader) -> bytes:
    """Raises EOFError (IncompleteReadError) at the end, OSError, and ValueError for a frame above the limit."""
    length = int.from_bytes(await reader.readexactly(LENGTH_BYTES))
    if length > FRAME_LIMIT:
        raise ValueError(f"a frame of {length} bytes exceeds {FRAME_LIMIT}")
    return await reader.readexactly(length)
