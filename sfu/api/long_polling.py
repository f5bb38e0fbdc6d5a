"""What makes many viewers cheap: answers whose bytes are there, and one timer for all who wait for the same.

RFC 9112 (HTTP/1.1), RFC 8216bis 6.2.5.2 (how long a reload may be held).
"""

import asyncio
from collections.abc import Callable
from functools import partial

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.helpers import rfc822_formatted_time

from sfu.outputs.hls.delivery_directives import LONGEST_HOLD
from sfu.outputs.hls.rendition_stream import RenditionStream

DEADLINE_CHECK_INTERVAL = 0.5
"""Seconds between two looks at whether somebody has waited long enough."""


class PreparedResponse(web.StreamResponse):
    """An answer whose bytes are there. aiohttp would put its head together anew for every viewer."""

    def __init__(self, status: int, head: bytes, body: bytes) -> None:
        super().__init__(status=status)
        self._bytes = (head, body)
        self._alive = True
        self._more = b""

    def allow(self, origin: str, exposed: str) -> None:
        """Pages of this origin, which came in a header's line, may read it and the headers named in `exposed`."""
        self._more = f"Access-Control-Allow-Origin: {origin}\r\nAccess-Control-Expose-Headers: {exposed}\r\n".encode()

    @property
    def keep_alive(self) -> bool | None:
        return self._alive

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        transport = request.transport
        if transport is None or transport.is_closing():
            raise ConnectionResetError("the viewer has gone")
        head, body = self._bytes
        self._alive = request.keep_alive
        # RFC 9112 9.6: who does not keep the connection says so.
        close = b"" if self._alive and request.version >= (1, 1) else b"Connection: close\r\n"
        self._alive = self._alive and not close
        date = f"Date: {rfc822_formatted_time()}\r\n".encode()
        transport.write(b"".join((head, date, self._more, close, b"\r\n", b"" if request.method == "HEAD" else body)))
        # Waits only for a viewer that reads slower than it asks.
        await request._payload_writer.drain()
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        """Everything is written."""


class LongPoller:
    """Waits for streams to change. One timer for everybody who waits for a stream: there are thousands a second."""

    def __init__(self) -> None:
        self._alarms: dict[RenditionStream, asyncio.TimerHandle] = {}

    async def wait_until(self, stream: RenditionStream, there: Callable[[], bool]) -> bool:
        """Whether it is there, at the latest after the time that RFC 8216bis 6.2.5.2 allows."""
        if there():
            return True
        loop = asyncio.get_running_loop()
        deadline = loop.time() + LONGEST_HOLD - DEADLINE_CHECK_INTERVAL
        while True:
            changed: asyncio.Future[None] = loop.create_future()
            wake = partial(_wake, changed)
            stream.waiting.add(wake)
            if stream not in self._alarms:
                self._alarms[stream] = loop.call_later(DEADLINE_CHECK_INTERVAL, self._alarm, stream)
            try:
                await changed
            finally:
                stream.waiting.discard(wake)
            if there():
                return True
            if loop.time() >= deadline:
                return False

    def _alarm(self, stream: RenditionStream) -> None:
        del self._alarms[stream]
        for wake in tuple(stream.waiting):
            wake()


def _wake(changed: asyncio.Future[None]) -> None:
    if not changed.done():
        changed.set_result(None)
