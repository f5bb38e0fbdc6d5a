"""Authenticates requests between nodes and messages of the bus with the secrets of the cluster.

A request carries four headers. The signature covers the method, the path with the query, the receiver, the client's address
and the hash of the body. A receiver accepts each request once, within `WINDOW` seconds of its time.
"""

import asyncio
import hashlib
import os
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Mapping, Sequence

import msgspec

from sfu.cluster.ports import MESSAGE_LIMIT_BYTES, Bus
from sfu.cluster.sealing import MAC_BYTES, Signer
from sfu.errors import NotAuthorized

NODE_HEADER = "X-Sfu-Node"
"""Id of the sender."""
CLIENT_HEADER = "X-Sfu-Client"
"""Address of the client whose request is forwarded; absent: the request is the node's own."""
TIME_HEADER = "X-Sfu-Time"
NONCE_HEADER = "X-Sfu-Nonce"
SIGNATURE_HEADER = "X-Sfu-Signature"

WINDOW = 30.0
"""Seconds between the clocks of two nodes, plus the time on the way."""
NONCES_LIMIT = 200_000
"""Requests of the last seconds. Beyond it, further requests are refused."""
SENDERS_LIMIT = 4_096
"""Senders of bus messages. Beyond it, the one that was silent for the longest time is forgotten."""
MESSAGE_AGE = 2 * 86_400.0
"""Seconds after which a message of the bus is dropped: longer than the longest token lives."""
STREAMED = None
"""The body of a request that is streamed: the signature does not cover it."""


class NodeAuthentication:
    """Signs and verifies requests. `clock`: Unix time."""

    def __init__(self, secrets: Sequence[str], node_id: str, clock: Callable[[], float] = time.time) -> None:
        self._signer = Signer(secrets, "node requests")
        self._node_id = node_id
        self._clock = clock
        self._nonces: OrderedDict[str, float] = OrderedDict()

    def sign(self, method: str, target: str, *, to: str, client: str = "", body: bytes | None = b"") -> dict[str, str]:
        """The headers of a request. `target`: path and query. `to`: id of the receiving node."""
        headers = {
            NODE_HEADER: self._node_id,
            TIME_HEADER: f"{self._clock():.3f}",
            NONCE_HEADER: os.urandom(16).hex(),
        }
        if client:
            headers[CLIENT_HEADER] = client
        headers[SIGNATURE_HEADER] = self._signer.sign(_signed(method, target, to, headers, body)).hex()
        return headers

    def verify(self, method: str, target: str, headers: Mapping[str, str], body: bytes | None = b"") -> str:
        """The id of the sending node. `headers`: a mapping without regard to case. Raises NotAuthorized."""
        nonce = headers.get(NONCE_HEADER, "")
        try:
            sent = float(headers[TIME_HEADER])
            signature = bytes.fromhex(headers[SIGNATURE_HEADER])
        except (KeyError, ValueError):
            raise NotAuthorized("The request is not signed by a node of this cluster.") from None
        if not self._signer.verify(_signed(method, target, self._node_id, headers, body), signature):
            raise NotAuthorized("The request is not signed by a node of this cluster.")
        now = self._clock()
        if not abs(now - sent) <= WINDOW:
            raise NotAuthorized(f"The time of the request differs by more than {WINDOW:.0f} s. Check the clocks.")
        self._forget(now)
        if nonce in self._nonces or len(self._nonces) >= NONCES_LIMIT:
            raise NotAuthorized("The request was received before.")
        self._nonces[nonce] = now + 2 * WINDOW
        return headers.get(NODE_HEADER, "")

    def _forget(self, now: float) -> None:
        while self._nonces:
            nonce, until = next(iter(self._nonces.items()))
            if until > now:
                return
            del self._nonces[nonce]


def _signed(method: str, target: str, to: str, headers: Mapping[str, str], body: bytes | None) -> bytes:
    digest = "streamed" if body is None else hashlib.sha256(body).hexdigest()
    names = (NODE_HEADER, TIME_HEADER, NONCE_HEADER, CLIENT_HEADER)
    return msgspec.msgpack.encode([method.upper(), target, to, digest, *(headers.get(name, "") for name in names)])


class BusMessage(msgspec.Struct, frozen=True, array_like=True):
    """The signed content of a message. The stream is part of it: a message cannot be copied to another stream."""

    stream: str
    sender: str
    "Random id of the sending process."
    number: int
    "Nanoseconds since 1970, increasing for each sender."
    body: bytes


class SignedBus:
    """A Bus that signs messages and drops those that are not signed, altered, replayed or old. `refused` counts them."""

    def __init__(self, bus: Bus, secrets: Sequence[str], clock: Callable[[], int] = time.time_ns) -> None:
        self._bus = bus
        self._signer = Signer(secrets, "bus messages")
        self._clock = clock
        self._sender = os.urandom(12).hex()
        self._number = 0
        self._order = asyncio.Lock()
        "Readers drop a message that arrives behind one with a higher number."
        self._encoder = msgspec.msgpack.Encoder()
        self._decoder = msgspec.msgpack.Decoder(BusMessage)
        self.refused = dict.fromkeys(("oversized", "malformed", "forged", "misplaced", "old", "replayed"), 0)

    async def publish(self, stream: str, message: bytes) -> None:
        """Raises Unavailable, and ValueError when the message is too large."""
        async with self._order:
            self._number = max(self._number + 1, self._clock())
            content = self._encoder.encode(BusMessage(stream, self._sender, self._number, message))
            if MAC_BYTES + len(content) > MESSAGE_LIMIT_BYTES:
                raise ValueError(f"a message of {len(message)} bytes exceeds {MESSAGE_LIMIT_BYTES} with its signature")
            await self._bus.publish(stream, self._signer.sign(content) + content)

    async def read(self, streams: Sequence[str]) -> AsyncIterator[tuple[str, bytes]]:
        last: OrderedDict[tuple[str, str], int] = OrderedDict()
        async for stream, message in self._bus.read(streams):
            content = self._checked(stream, message)
            if isinstance(content, str):
                self.refused[content] += 1
                continue
            key = (stream, content.sender)
            if content.number <= last.get(key, 0):
                self.refused["replayed"] += 1
                continue
            last[key] = content.number
            last.move_to_end(key)
            if len(last) > SENDERS_LIMIT:
                last.popitem(last=False)
            yield stream, content.body

    def _checked(self, stream: str, message: bytes) -> BusMessage | str:
        """The content, or the reason for which the message is refused."""
        if len(message) > MESSAGE_LIMIT_BYTES:
            return "oversized"
        mac, content = message[:MAC_BYTES], message[MAC_BYTES:]
        if not self._signer.verify(content, mac):
            return "forged"
        try:
            decoded = self._decoder.decode(content)
        except msgspec.DecodeError:
            return "malformed"
        if decoded.stream != stream:
            return "misplaced"
        if abs(self._clock() - decoded.number) > MESSAGE_AGE * 1e9:
            return "old"
        return decoded
