"""Ordered links between nodes over the bus, one for each room and edge.

Each process reads one stream of the bus, its inbox. Messages of a link are numbered: a receiver that misses one reports the
link as lost, and its owner opens another one. Contents are sealed, because the bus may be a Redis that others can read.
Messages above `PART_BYTES` are sent in parts.
"""

import asyncio
import logging
import os
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from sfu.cluster.ports import Bus, Unavailable
from sfu.cluster.sealing import Forged, Sealer

log = logging.getLogger(__name__)

PART_BYTES: Final = 128 << 10
MESSAGE_BYTES: Final = 16 << 20
"""Largest message, in parts."""
QUEUE_BYTES: Final = 32 << 20
"""Messages that wait for the bus, for each other node. Beyond it they are dropped, and the links are lost."""
LINKS_LIMIT: Final = 65_536
RETRY: Final = 0.25
"""Seconds between attempts while the bus does not answer."""
CLOSE_TIMEOUT: Final = 1.0
LINGER: Final = 256
"""Links that ended last: late messages of them are not answered."""


class Part(msgspec.Struct, frozen=True, array_like=True):
    """`number` 0: the link is unknown at the sender, or lost."""

    room: str
    link: str
    sender: str
    "Id of the sending node."
    inbox: str
    "Stream that the sender reads."
    number: int
    more: bool
    "The next part continues this message."
    body: bytes


class Link:
    """One end of a link. `receive` gets the messages of the other end; after `lost` nothing is received."""

    def __init__(self, links: "RoomLinks", room: str, identifier: str, node: str, inbox: str) -> None:
        self._links = links
        self.room = room
        self.id = identifier
        self.node = node
        "Id of the other node."
        self.inbox = inbox
        self.receive: Callable[[bytes], None] = lambda message: None
        self.lost: Callable[[], None] = lambda: None
        self.sent = self.received = 0
        self.partial = bytearray()

    def send(self, message: bytes) -> None:
        """Does not wait: the messages of all links to the other node share a queue."""
        for start in range(0, max(len(message), 1), PART_BYTES):
            self.sent += 1
            more = start + PART_BYTES < len(message)
            self._links.post(self, self.sent, message[start : start + PART_BYTES], more=more)

    def end(self) -> None:
        """Closes the link and tells the other end that it is lost. Idempotent."""
        if self._links.closed(self):
            self._links.post(self, 0, b"")

    def close(self) -> None:
        """Idempotent."""
        self._links.closed(self)


class RoomLinks:
    """`accept` is called with each new link that another node opens. False: this node is not the home of the room."""

    def __init__(self, bus: Bus, secrets: Sequence[str], node: str, accept: Callable[[Link], bool]) -> None:
        self._bus = bus
        self._sealer = Sealer(secrets, "room links")
        self._node = node
        self._accept = accept
        self.inbox = f"node:{os.urandom(12).hex()}"
        self._links: dict[str, Link] = {}
        self._ended: OrderedDict[str, None] = OrderedDict()
        self._queues: dict[str, _Queue] = {}
        self._encoder = msgspec.msgpack.Encoder()
        self._decoder = msgspec.msgpack.Decoder(Part)
        self.malformed = 0
        self.lost = 0
        "Links that missed a message."
        self.dropped = 0
        "Messages that waited for the bus for too long."

    def open(self, room: str, node: str, inbox: str) -> Link:
        """A new link to the home of a room."""
        link = Link(self, room, os.urandom(12).hex(), node, inbox)
        self._links[link.id] = link
        return link

    async def run(self) -> None:
        """Reads the inbox until cancelled."""
        async for stream, sealed in self._bus.read([self.inbox]):
            try:
                part = self._decoder.decode(self._sealer.open(sealed, stream.encode()))
            except (Forged, msgspec.DecodeError):
                self.malformed += 1
                continue
            try:
                self._receive(part)
            except Exception:
                # One room must not stop the others.
                log.exception("a message of a room failed", extra={"room": part.room, "node": part.sender})
                self._lose(part.link)

    async def close(self) -> None:
        """Sends what waits, for `CLOSE_TIMEOUT` seconds at most."""
        tasks = [queue.task for queue in self._queues.values()]
        if tasks:
            await asyncio.wait(tasks, timeout=CLOSE_TIMEOUT)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def closed(self, link: Link) -> bool:
        """False: it was closed before."""
        if self._links.pop(link.id, None) is None:
            return False
        self._ended[link.id] = None
        while len(self._ended) > LINGER:
            self._ended.popitem(last=False)
        return True

    def post(self, link: Link, number: int, body: bytes, *, more: bool = False) -> None:
        part = Part(link.room, link.id, self._node, self.inbox, number, more, body)
        queue = self._queues.get(link.inbox)
        if queue is None or queue.task.done():
            queue = self._queues[link.inbox] = _Queue()
            queue.task = asyncio.create_task(self._deliver(link.inbox, queue))
        if not queue.add(self._sealer.seal(self._encoder.encode(part), link.inbox.encode())):
            self.dropped += 1

    async def _deliver(self, inbox: str, queue: "_Queue") -> None:
        """Sends what waits for one node, in order, and ends when nothing waits."""
        while queue.parts:
            try:
                await self._bus.publish(inbox, queue.parts[0])
            except Unavailable:
                await asyncio.sleep(RETRY)
                continue
            except ValueError:
                log.exception("a message of a room is too large for the bus")
            queue.remove()
        if self._queues.get(inbox) is queue:
            del self._queues[inbox]

    def _receive(self, part: Part) -> None:
        link = self._links.get(part.link)
        if part.number == 0:
            if link is not None:
                self._lose(part.link)
            return
        if link is None:
            link = self._accepted(part)
            if link is None:
                return
        if part.number <= link.received:
            return
        if part.number != link.received + 1 or len(link.partial) > MESSAGE_BYTES:
            self.post(link, 0, b"")
            self._lose(link.id)
            return
        link.received = part.number
        link.inbox = part.inbox
        link.partial += part.body
        if not part.more:
            message = bytes(link.partial)
            link.partial.clear()
            link.receive(message)

    def _accepted(self, part: Part) -> Link | None:
        if part.link in self._ended:
            return None
        link = Link(self, part.room, part.link, part.sender, part.inbox)
        if part.number == 1 and len(self._links) < LINKS_LIMIT:
            self._links[link.id] = link
            if self._accept(link):
                return link
            self.closed(link)
        self.post(link, 0, b"")
        return None

    def _lose(self, identifier: str) -> None:
        link = self._links.get(identifier)
        if link is not None:
            self.lost += 1
            self.closed(link)
            link.lost()


class _Queue:
    def __init__(self) -> None:
        self.parts: deque[bytes] = deque()
        self.bytes = 0
        self.task: asyncio.Task[None]

    def add(self, part: bytes) -> bool:
        """False: too much waits."""
        if self.bytes + len(part) > QUEUE_BYTES:
            return False
        self.parts.append(part)
        self.bytes += len(part)
        return True

    def remove(self) -> None:
        self.bytes -= len(self.parts.popleft())
