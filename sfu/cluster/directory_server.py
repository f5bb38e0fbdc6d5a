"""Serves a directory and a bus in memory to other processes of this machine, on a Unix socket.

The socket belongs in a directory with mode 0700; processes of other users are refused besides.
"""

import asyncio
import logging
import os
import socket
import struct
from contextlib import suppress
from typing import Any

from sfu.cluster import wire
from sfu.cluster.memory_directory import MemoryBus, MemoryDirectory
from sfu.cluster.ports import Fenced, Unavailable

log = logging.getLogger(__name__)

CONNECTIONS_LIMIT = 1_024
_CREDENTIALS = struct.Struct("3i")


class DirectoryServer:
    """`open()` before the workers start, `close()` after they have ended."""

    def __init__(self, directory: MemoryDirectory, bus: MemoryBus) -> None:
        self.directory = directory
        self.bus = bus
        self._bus_id = os.urandom(12).hex()
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.refused = 0

    async def open(self, path: str) -> None:
        """Raises OSError."""
        with suppress(FileNotFoundError):
            os.unlink(path)
        self._server = await asyncio.start_unix_server(self._accept, path, limit=wire.FRAME_LIMIT)
        os.chmod(path, 0o600)

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._tasks) >= CONNECTIONS_LIMIT or not _same_user(writer.get_extra_info("socket")):
            self.refused += 1
            writer.close()
            return
        task = asyncio.create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                request = wire.decode_request(await wire.read_frame(reader))
                if isinstance(request.operation, wire.Subscribe):
                    await self._deliver(request.operation, reader, writer)
                    return
                writer.write(wire.frame(await self._respond(request)))
                await writer.drain()
        except ValueError as error:
            self.refused += 1
            log.warning("a process sent a malformed request", extra={"reason": str(error)})
        except (EOFError, OSError):
            pass
        finally:
            writer.close()

    async def _respond(self, request: wire.Request) -> list[Any]:
        try:
            return [request.number, "", await self._execute(request.operation)]
        except Unavailable as error:
            return [request.number, "unavailable", error.message]
        except Fenced as error:
            return [request.number, "fenced", str(error)]
        except ValueError as error:
            return [request.number, "invalid", str(error)]

    async def _execute(self, operation: wire.AnyOperation) -> object:
        directory = self.directory
        match operation:
            case wire.Announce(node):
                return await directory.announce(node)
            case wire.Withdraw(instance):
                await directory.withdraw(instance)
            case wire.Nodes():
                return await directory.nodes()
            case wire.FindHome(room):
                return [await directory.home(room)]
            case wire.Claim(room, claimant, over):
                return await directory.claim(room, claimant.node, claimant.instance, over=over, epoch=claimant.epoch)
            case wire.Release(room, home):
                await directory.release(room, home)
            case wire.Save(room, home, snapshot):
                await directory.save(room, home, snapshot)
            case wire.Load(room):
                return [await directory.load(room)]
            case wire.Publish(stream, message):
                await self.bus.publish(stream, message)
        return None

    async def _deliver(
        self, request: wire.Subscribe, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Sends messages until the reader closes the connection. A slow reader misses what its streams drop."""
        positions = dict(request.positions)
        if request.bus != self._bus_id:
            positions = dict.fromkeys(positions, 0)
        writer.write(wire.frame(wire.Delivery("", 0, self._bus_id.encode())))

        async def send() -> None:
            async for stream, number, message in self.bus.read_from(positions):
                writer.write(wire.frame(wire.Delivery(stream, number, message)))
                await writer.drain()

        sending = asyncio.create_task(send())
        try:
            closed = asyncio.ensure_future(reader.read(1))
            await asyncio.wait((sending, closed), return_when=asyncio.FIRST_COMPLETED)
            closed.cancel()
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)


def _same_user(connection: socket.socket) -> bool:
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    _, uid, _ = _CREDENTIALS.unpack(credentials)
    return bool(uid == os.geteuid())
