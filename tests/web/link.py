"""The way between a page and the server's HTTP side, which a test can cut: sockets drop as they do on a bad network."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

CHUNK = 65_536


class Link:
    """Carries TCP connections to a port; while it is down it carries none."""

    def __init__(self, target: int, pass_on: Callable[[bytes], bytes]) -> None:
        self.target = target
        self.pass_on = pass_on
        "Applied to what clients send, chunk by chunk."
        self.port = 0
        self.up = True
        self._carried: set[asyncio.StreamWriter] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def cut(self) -> None:
        """Both ends of every connection lose it at once, without a goodbye, and no new ones come through."""
        self.up = False
        for writer in self._carried:
            writer.transport.abort()

    def mend(self) -> None:
        self.up = True

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self.up:
            writer.transport.abort()
            return
        far_reader, far_writer = await asyncio.open_connection("localhost", self.target)
        both = {writer, far_writer}
        self._carried |= both
        try:
            await asyncio.gather(_pipe(reader, far_writer, self.pass_on), _pipe(far_reader, writer, bytes))
        finally:
            self._carried -= both


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, pass_on: Callable[[bytes], bytes]) -> None:
    with suppress(ConnectionError):
        while data := await reader.read(CHUNK):
            writer.write(pass_on(data))
            await writer.drain()
    writer.close()
    with suppress(ConnectionError):
        await writer.wait_closed()


@asynccontextmanager
async def link(target: int, pass_on: Callable[[bytes], bytes] = bytes) -> AsyncIterator[Link]:
    carrier = Link(target, pass_on)
    server = await asyncio.start_server(carrier.carry, "127.0.0.1", 0)
    carrier.port = server.sockets[0].getsockname()[1]
    try:
        yield carrier
    finally:
        carrier.cut()
        server.close()
        await server.wait_closed()
