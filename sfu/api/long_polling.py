"""Efficient HLS responses for many viewers: prepared response bytes, and one timer per stream for all blocked requests.

RFC 9112 (HTTP/1.1), RFC 8216bis 6.2.5.2 (maximum duration of a blocking reload).
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
"""Seconds between checks for requests whose maximum duration has passed."""


class PreparedResponse(web.StreamResponse):
    """A response from prepared bytes. aiohttp would build the head again for every viewer."""

    def __init__(self, status: int, head: bytes, body: bytes) -> None:
        super().__init__(status=status)
        self._bytes = (head, body)
        self._alive = True
        self._more = b""

    def allow(self, origin: str, exposed: str) -> None:
        """Adds CORS headers: pages of `origin` may read the response and the headers in `exposed`.

        `origin` must come from a parsed request header, which cannot contain line breaks.
        """
        self._more = f"Access-Control-Allow-Origin: {origin}\r\nAccess-Control-Expose-Headers: {exposed}\r\n".encode()

    @property
    def keep_alive(self) -> bool | None:
        return self._alive

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        transport = request.transport
        if transport is None or transport.is_closing():
            raise ConnectionResetError("the viewer has disconnected")
        head, body = self._bytes
        self._alive = request.keep_alive
        # RFC 9112 9.6: a server that closes the connection announces it.
        close = b"" if self._alive and request.version >= (1, 1) else b"Connection: close\r\n"
        self._alive = self._alive and not close
        date = f"Date: {rfc822_formatted_time()}\r\n".encode()
        transport.write(b"".join((head, date, self._more, close, b"\r\n", b"" if request.method == "HEAD" else body)))
        # Waits only for a viewer that reads more slowly than it sends requests.
        await request._payload_writer.drain()
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        """Does nothing: `prepare` has written the whole response."""


class LongPoller:
    """Waits for changes of streams. All waiting requests of a stream share one timer: there are thousands per second."""

    def __init__(self) -> None:
        self._alarms: dict[RenditionStream, asyncio.TimerHandle] = {}

    async def wait_until(self, stream: RenditionStream, there: Callable[[], bool]) -> bool:
        """Waits until `there()` is true; False after the maximum duration of RFC 8216bis 6.2.5.2."""
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
