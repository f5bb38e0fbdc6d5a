"""The WebSocket of one HTTP request: handshake, messages, close (RFC 6455), with bounded loop time per turn.

aiohttp parses the request and then passes every read to `FrameStream.feed_data`, which only stores it. The socket's task
parses, one message at a time, and yields to the loop after `SLICE` seconds of work however much is stored.
"""

import asyncio
import base64
import hashlib
import time
from contextlib import suppress
from typing import TYPE_CHECKING, cast

from aiohttp import hdrs, web

from sfu.signaling.frames import Frame, FrameReader, FrameViolation, Opcode, close_frame, frame_header

if TYPE_CHECKING:
    from aiohttp.http import WebSocketReader

SLICE = 0.001
"""Seconds of work after which a socket's task lets the loop run other callbacks."""
PAUSE_BYTES = 131_072
"""Unparsed bytes above which the transport stops reading; the largest message fits twice."""
LINGER = 1.0
"""Seconds to discard input after a violation, so that a TCP reset does not overtake the close frame."""
LINGER_BYTES = 1_048_576
CLOSING_FRAMES = 256
"""Messages parsed while waiting for the client's close frame."""

_KEY_SUFFIX = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
"""RFC 6455 1.3."""


class UpgradeResponse(web.StreamResponse):
    """The answer 101 to a request that `handshake_error` accepts."""

    _length_check = False

    def __init__(self, request: web.Request, protocol: str | None) -> None:
        super().__init__(status=101)
        key = request.headers[hdrs.SEC_WEBSOCKET_KEY].encode()
        self.headers[hdrs.UPGRADE] = "websocket"
        self.headers[hdrs.CONNECTION] = "upgrade"
        self.headers[hdrs.SEC_WEBSOCKET_ACCEPT] = base64.b64encode(hashlib.sha1(key + _KEY_SUFFIX).digest()).decode()
        if protocol:
            self.headers[hdrs.SEC_WEBSOCKET_PROTOCOL] = protocol
        self.force_close()


def handshake_error(request: web.Request, protocol: str) -> web.Response | None:
    """The refusal of a request that is not a WebSocket handshake (RFC 6455 4.2); None: it is one. The request offers
    `protocol` or no subprotocol."""
    if request.headers.get(hdrs.SEC_WEBSOCKET_VERSION, "13").strip() != "13":
        headers = {hdrs.SEC_WEBSOCKET_VERSION: "13", hdrs.UPGRADE: "websocket"}
        return web.Response(status=426, text="Use WebSocket version 13.\n", headers=headers)
    if request.method != "GET" or not web.WebSocketResponse(protocols=(protocol,), compress=False).can_prepare(request):
        return web.Response(status=400, text="This address takes WebSocket handshakes only.\n")
    return None


class FrameStream:
    """A parser for aiohttp's `set_parser`. The socket's task calls `receive` in a loop and `close` at the end."""

    def __init__(self, request: web.Request, transport: asyncio.Transport, max_message_bytes: int) -> None:
        self._protocol = request.protocol
        self._transport = transport
        self._reader = FrameReader(max_message_bytes, time.monotonic())
        self._waiter: asyncio.Future[None] | None = None
        self._eof = False
        self._paused = False
        self._slice_began = time.perf_counter()
        self._closed_by_peer = False
        self._close_sent = False
        self._discarded: int | None = None
        "Bytes discarded after a violation; None: input is parsed."

    def start(self) -> None:
        """Makes aiohttp pass all input to this stream, including the bytes that followed the handshake."""
        self._protocol.set_parser(cast("WebSocketReader", self))
        self._protocol.keep_alive(False)

    # -- called by aiohttp -----------------------------------------------------------------------------------------

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        if self._discarded is not None:
            self._discarded += len(data)
            if self._discarded > LINGER_BYTES:
                self._transport.abort()
            return False, b""
        self._reader.receive_data(data)
        if self._reader.buffered > PAUSE_BYTES and not self._paused:
            self._paused = True
            self._protocol.pause_reading()
        self._wake()
        return False, b""

    def feed_eof(self) -> None:
        self._eof = True
        self._wake()

    # -- called by the socket's task -------------------------------------------------------------------------------

    async def receive(self) -> Frame | None:
        """The next text or binary message; None: the client closed the socket or disconnected. Answers pings.

        Raises FrameViolation.
        """
        while True:
            if time.perf_counter() - self._slice_began > SLICE:
                await asyncio.sleep(0)
                self._slice_began = time.perf_counter()
            frame = self._reader.next_frame(time.monotonic())
            if frame is None:
                if self._eof:
                    return None
                await self._more()
            elif frame.opcode is Opcode.PING:
                self._write(frame_header(Opcode.PONG, len(frame.payload)) + frame.payload)
            elif frame.opcode is Opcode.CLOSE:
                # RFC 6455 5.5.1: the answer carries the same code. If both sides close at once, there is no answer.
                if not self._close_sent:
                    self._write(close_frame(frame.close_code))
                self._closed_by_peer = True
                return None
            elif frame.opcode is not Opcode.PONG:
                return frame

    async def close(self, code: int, reason: str, timeout: float) -> None:
        """Sends a close frame, waits for the client's, and closes the transport."""
        transport = self._transport
        if transport.is_closing():
            return
        try:
            async with asyncio.timeout(timeout):
                if not self._closed_by_peer:
                    self._write(close_frame(code, reason))
                    self._close_sent = True
                    await self._until_closed()
        except TimeoutError:
            transport.abort()
        else:
            transport.close()

    async def fail(self, violation: FrameViolation, timeout: float) -> None:
        """RFC 6455 7.1.7: sends a close frame and parses no more input."""
        if not self._closed_by_peer:
            self._write(close_frame(violation.code, violation.reason))
        await self._linger(timeout)
        self._transport.close()

    async def _until_closed(self) -> None:
        """Reads until the client's close frame, at most `CLOSING_FRAMES` messages."""
        with suppress(FrameViolation):
            for _ in range(CLOSING_FRAMES):
                if await self.receive() is None:
                    return
        await self._linger(LINGER)

    async def _linger(self, timeout: float) -> None:
        self._discarded = 0
        self._reader.discard()
        self._resume()
        with suppress(TimeoutError):
            async with asyncio.timeout(min(timeout, LINGER)):
                while not self._eof:
                    await self._more()

    async def _more(self) -> None:
        self._resume()
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None
        self._slice_began = time.perf_counter()

    def _resume(self) -> None:
        if self._paused:
            self._paused = False
            self._protocol.resume_reading()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _write(self, data: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(data)
