"""The directory and the bus of the parent process, as its workers use them.

A request waits at most `TIMEOUT` seconds. The client connects again with the next request after a loss.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from typing import NoReturn, TypeVar

import msgspec

from sfu.cluster import wire
from sfu.cluster.ports import MESSAGE_LIMIT_BYTES, SNAPSHOT_LIMIT_BYTES, Fenced, Home, NodeInfo, Unavailable

TIMEOUT = 2.0
"""Seconds for a response."""
PENDING_LIMIT = 4_096
"""Requests without a response."""
RECONNECT = 0.25
"""Seconds between attempts of a reader of the bus to connect."""

T = TypeVar("T")


class DirectoryClient:
    """A Directory and a Bus. `path`: the Unix socket of the parent process."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._writer: asyncio.StreamWriter | None = None
        self._receiver: asyncio.Task[None] | None = None
        self._connecting = asyncio.Lock()
        self._pending: dict[int, asyncio.Future[wire.Response]] = {}
        self._number = 0

    async def announce(self, node: NodeInfo) -> bool:
        return await self._request(wire.Announce(node), bool)

    async def withdraw(self, instance: str) -> None:
        await self._request(wire.Withdraw(instance), type(None))

    async def nodes(self) -> Mapping[str, NodeInfo]:
        return await self._request(wire.Nodes(), dict[str, NodeInfo])

    async def home(self, room: str) -> Home | None:
        (home,) = await self._request(wire.FindHome(room), tuple[Home | None])
        return home

    async def claim(self, room: str, node: str, instance: str, *, over: str = "", epoch: int = 0) -> Home:
        return await self._request(wire.Claim(room, Home(node, instance, epoch), over), Home)

    async def release(self, room: str, home: Home) -> None:
        await self._request(wire.Release(room, home), type(None))

    async def save(self, room: str, home: Home, snapshot: bytes) -> None:
        if len(snapshot) > SNAPSHOT_LIMIT_BYTES:
            raise ValueError(f"a snapshot of {len(snapshot)} bytes exceeds {SNAPSHOT_LIMIT_BYTES}")
        await self._request(wire.Save(room, home, snapshot), type(None))

    async def load(self, room: str) -> bytes | None:
        (snapshot,) = await self._request(wire.Load(room), tuple[bytes | None])
        return snapshot

    async def publish(self, stream: str, message: bytes) -> None:
        if len(message) > MESSAGE_LIMIT_BYTES:
            raise ValueError(f"a message of {len(message)} bytes exceeds {MESSAGE_LIMIT_BYTES}")
        await self._request(wire.Publish(stream, message), type(None))

    async def read(self, streams: Sequence[str]) -> AsyncIterator[tuple[str, bytes]]:
        bus, positions = "", dict.fromkeys(streams, 0)
        while True:
            writer = None
            try:
                reader, writer = await asyncio.open_unix_connection(self._path, limit=wire.FRAME_LIMIT)
                writer.write(wire.frame(wire.Request(0, wire.Subscribe(bus, positions))))
                while True:
                    delivery = wire.decode_delivery(await wire.read_frame(reader))
                    if not delivery.stream:
                        known, bus = bus, delivery.message.decode()
                        if known != bus:
                            positions = dict.fromkeys(streams, 0)
                        continue
                    positions[delivery.stream] = delivery.number + 1
                    yield delivery.stream, delivery.message
            except (EOFError, OSError, ValueError):
                await asyncio.sleep(RECONNECT)
            finally:
                if writer is not None:
                    writer.close()

    async def close(self) -> None:
        if self._receiver is not None:
            self._receiver.cancel()
            with suppress(asyncio.CancelledError):
                await self._receiver

    async def _request(self, operation: wire.AnyOperation, kind: type[T]) -> T:
        """Raises Unavailable, Fenced and ValueError."""
        if len(self._pending) >= PENDING_LIMIT:
            raise Unavailable("The directory has too many requests.")
        self._number += 1
        number = self._number
        response = self._pending[number] = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(TIMEOUT):
                writer = await self._connected()
                writer.write(wire.frame(wire.Request(number, operation)))
                answer = await response
            if answer.error:
                _raise(answer.error, wire.decode_value(answer.value, str))
            return wire.decode_value(answer.value, kind)
        except (OSError, EOFError, TimeoutError, msgspec.DecodeError) as error:
            raise Unavailable(f"The directory does not answer ({type(error).__name__}).") from None
        finally:
            del self._pending[number]
            response.cancel()

    async def _connected(self) -> asyncio.StreamWriter:
        async with self._connecting:
            if self._writer is None or self._writer.is_closing():
                reader, self._writer = await asyncio.open_unix_connection(self._path, limit=wire.FRAME_LIMIT)
                self._receiver = asyncio.create_task(self._receive(reader, self._writer))
            return self._writer

    async def _receive(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                response = wire.decode_response(await wire.read_frame(reader))
                waiting = self._pending.get(response.number)
                if waiting is not None and not waiting.done():
                    waiting.set_result(response)
        except (EOFError, OSError, ValueError):
            pass
        finally:
            writer.close()
            for waiting in self._pending.values():
                if not waiting.done():
                    waiting.set_exception(ConnectionError("the connection was lost"))


def _raise(error: str, message: str) -> NoReturn:
    if error == "fenced":
        raise Fenced(message)
    if error == "invalid":
        raise ValueError(message)
    raise Unavailable(message)
