"""The connection to a camera: checked, counted, and relayed to the demuxer process through a port of the loopback address.

The server resolves the name, checks the addresses and connects. libavformat follows redirects to any address, so the relay
refuses answers that are redirects until the camera plays; libavformat follows none after that.
"""

import asyncio
import re
import socket
import ssl
import time
from collections.abc import Callable
from typing import Final

from sfu.auth.public_addresses import is_public
from sfu.errors import BadRequest, ConfigurationError
from sfu.ingest.rtsp_url import PRIVATE, RtspUrl

READ_BYTES: Final = 65_536
CONNECT_TIMEOUT: Final = 10.0
MAX_ADDRESSES: Final = 4
WINDOW: Final = 8192
"""Bytes of earlier answers that are checked again together with the next ones. libavformat reads 4096 bytes of a line."""
REDIRECTED: Final = "The camera redirects to another address, which the server does not follow."
_ANSWER: Final = re.compile(rb"RTSP/[^ \t\n]*\s+(\S+)\s")
_STATUS: Final = re.compile(rb"[12456]\d\d")


def tls_context(ca: str) -> ssl.SSLContext:
    """Verifies certificates against the file `ca`, or those of the system if it is empty. Raises ConfigurationError."""
    try:
        return ssl.create_default_context(cafile=ca or None)
    except OSError as error:
        reason = "it is not a PEM file of certificates" if isinstance(error, ssl.SSLError) else error.strerror
        raise ConfigurationError(f"ingest.rtsp_ca {ca} cannot be used: {reason}.") from None


async def connect(
    url: RtspUrl, *, private: bool, tls: ssl.SSLContext | None
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connects to a camera; `tls` for an `rtsps` URL. Raises BadRequest and OSError, which includes TimeoutError."""
    loop = asyncio.get_running_loop()
    server_hostname = url.host if tls is not None else None
    async with asyncio.timeout(CONNECT_TIMEOUT):
        found = await loop.getaddrinfo(url.host, url.port, type=socket.SOCK_STREAM)
        if not private and not all(is_public(str(entry[4][0]).partition("%")[0]) for entry in found):
            raise BadRequest(PRIVATE)
        problem: OSError = OSError("no address")
        for entry in found[:MAX_ADDRESSES]:
            try:
                return await asyncio.open_connection(
                    str(entry[4][0]), url.port, limit=READ_BYTES, ssl=tls, server_hostname=server_hostname
                )
            except OSError as error:
                problem = error
        raise problem


class RedirectFilter:
    """Finds redirects in the answers of a camera as libavformat would read them. Pure."""

    def __init__(self) -> None:
        self._tail = b""

    def check(self, data: bytes) -> None:
        """Raises BadRequest. libavformat acts at the end of an answer, so that all of its head was checked by then."""
        text = self._tail + data.replace(b"\r", b"")
        for word in _ANSWER.findall(text):
            if not _STATUS.fullmatch(word) and any(48 <= byte <= 57 for byte in word):
                raise BadRequest(REDIRECTED)
        self._tail = text[-WINDOW:]


class Relay:
    """Relays one connection of the demuxer. `open` and `run` once each; `close` is idempotent."""

    def __init__(
        self,
        camera: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        max_bit_rate: int,
        received: Callable[[int], None],
    ) -> None:
        """`received` gets the number of bytes of each read from the camera."""
        self.playing = False
        self._camera = camera
        self._max_bit_rate = max_bit_rate
        self._received = received
        self._filter = RedirectFilter()
        self._server: asyncio.Server | None = None
        self._accepted: asyncio.Future[tuple[asyncio.StreamReader, asyncio.StreamWriter]] | None = None
        self._window = (time.monotonic(), 0)

    async def open(self) -> int:
        """Returns the port."""
        self._accepted = asyncio.get_running_loop().create_future()
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, limit=READ_BYTES, backlog=1)
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def run(self) -> None:
        """Relays until one side ends the connection. Raises BadRequest and OSError."""
        assert self._accepted is not None
        assert self._server is not None
        reader, writer = await self._accepted
        self._server.close()
        requests = asyncio.create_task(self._copy_requests(reader))
        try:
            while data := await self._camera[0].read(READ_BYTES):
                self._count(len(data))
                if not self.playing:
                    self._filter.check(data)
                writer.write(data)
                await writer.drain()
        finally:
            requests.cancel()
            writer.close()

    def close(self) -> None:
        if self._server is not None:
            self._server.close()
        if self._accepted is not None and self._accepted.done() and not self._accepted.cancelled():
            self._accepted.result()[1].transport.abort()
        self._camera[1].transport.abort()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._accepted is None or self._accepted.done():
            writer.transport.abort()
        else:
            self._accepted.set_result((reader, writer))

    async def _copy_requests(self, reader: asyncio.StreamReader) -> None:
        writer = self._camera[1]
        while data := await reader.read(READ_BYTES):
            writer.write(data)
            await writer.drain()

    def _count(self, size: int) -> None:
        self._received(size)
        since, count = self._window
        now = time.monotonic()
        count += size
        if 8 * count > self._max_bit_rate * 4.0:
            raise BadRequest(f"The camera exceeds {self._max_bit_rate / 1e6:g} Mbit/s. Choose a lower bit rate in it.")
        self._window = (now, 0) if now - since >= 4.0 else (since, count)
