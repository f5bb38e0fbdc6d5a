"""Messages between the relays of two nodes, in MessagePack. Pure.

They travel in signed HTTP requests, directly between the two nodes: the same failure that ends the requests ends the media,
and layers, keyframes and new subscriptions do not depend on Redis. The bus would add its outages, and would deliver messages
of the past to a new process.

`Hello` begins a session and is answered by another one. `Batch` carries the state of tracks that changed and is answered by
`Accepted`. Each item states a whole, so that it may be repeated. The node that receives the media chooses the SSRCs: it has
bound them before the first packet arrives.
"""

from collections.abc import Callable
from typing import Literal

import msgspec

MESSAGE_LIMIT_BYTES = 65_536
"""The default of `http.body_limit_bytes`."""
ITEMS_LIMIT = 32
"""Items of one batch: with descriptions of the largest size they fit into `MESSAGE_LIMIT_BYTES`."""
ADDRESSES_LIMIT = 8
LAYERS_LIMIT = 8


class Message(msgspec.Struct, frozen=True, array_like=True, tag=True):
    pass


class Hello(Message, frozen=True):
    """A request for a session, or the answer to it."""

    nonce: bytes
    key_id: bytes
    "Names the secret from which the sender derives the keys of its media."
    addresses: tuple[tuple[str, int], ...]
    "Where the sender receives media."


class Subscribe(Message, frozen=True):
    """The sender wants the description of a track, and its changes."""

    track: str


class Unsubscribe(Message, frozen=True):
    track: str


class LayerDescription(msgspec.Struct, frozen=True, array_like=True):
    rid: str
    width: int = 0
    height: int = 0


class TrackDescription(Message, frozen=True):
    """A track that the sender forwards on request."""

    track: str
    generation: int
    "Increases when another stream continues the track."
    kind: Literal["audio", "video"]
    codec: str
    parameters: str
    stream: str
    screen: bool
    red: bool
    layers: tuple[LayerDescription, ...]
    "Smallest first; a track without simulcast has one layer with an empty rid."
    limitation: Literal["none", "cpu", "bandwidth", "other"] = "none"


class Ended(Message, frozen=True):
    """The track does not exist at the sender any more, or never did."""

    track: str


class RelayStream(msgspec.Struct, frozen=True, array_like=True):
    rid: str
    ssrc: int
    rtx_ssrc: int
    "0: no retransmissions."


class LayerRequest(Message, frozen=True):
    """The layers of a track to send, and the SSRCs under which the sender expects them."""

    track: str
    generation: int
    streams: tuple[RelayStream, ...]
    wanted: tuple[str, ...]
    "Rids to send now. The others are parked."


Item = Subscribe | Unsubscribe | TrackDescription | Ended | LayerRequest


class Batch(Message, frozen=True):
    session: bytes
    number: int
    "Increases with each batch of a session. A batch that arrives late is dropped."
    items: tuple[Item, ...]


class Accepted(Message, frozen=True):
    pass


class UnknownSession(Message, frozen=True):
    """The batch does not belong to the current session: the sender says hello again."""


encode = msgspec.msgpack.Encoder().encode
_request: Callable[[bytes], Hello | Batch] = msgspec.msgpack.Decoder(Hello | Batch).decode
_answer: Callable[[bytes], Hello | Accepted | UnknownSession] = msgspec.msgpack.Decoder(
    Hello | Accepted | UnknownSession
).decode


def decode_request(data: bytes) -> Hello | Batch:
    """Raises ValueError."""
    message = _request(_limited(data))
    if isinstance(message, Hello):
        _check(message)
    elif len(message.items) > ITEMS_LIMIT:
        raise ValueError(f"a batch of {len(message.items)} items exceeds {ITEMS_LIMIT}")
    return message


def decode_answer(data: bytes) -> Hello | Accepted | UnknownSession:
    """Raises ValueError."""
    message = _answer(_limited(data))
    if isinstance(message, Hello):
        _check(message)
    return message


def _limited(data: bytes) -> bytes:
    if len(data) > MESSAGE_LIMIT_BYTES:
        raise ValueError(f"a message of {len(data)} bytes exceeds {MESSAGE_LIMIT_BYTES}")
    return data


def _check(hello: Hello) -> None:
    if len(hello.addresses) > ADDRESSES_LIMIT or not all(0 < port < 65_536 for _, port in hello.addresses):
        raise ValueError("the addresses of the node are not valid")
