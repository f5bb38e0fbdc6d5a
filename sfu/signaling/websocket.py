"""WebSockets (RFC 6455): who may open one, and the loop that feeds a Connection.

Frames are written straight to the transport, unmasked and uncompressed, so that nothing waits and nothing is copied
twice; the outbox bounds how much waits there. There is one task per socket, aiohttp's own, and it has one timeout,
which serves as join deadline first and as the way to end the socket later.
"""

import asyncio
import logging
from collections import Counter

import msgspec
from aiohttp import web

from sfu.auth.addresses import ClientAddresses
from sfu.auth.origins import Origins
from sfu.errors import AtCapacity, RemoteError
from sfu.signaling.connection import Connection
from sfu.signaling.context import Context
from sfu.signaling.frame_stream import FrameStream, UpgradeResponse, handshake_error
from sfu.signaling.frames import FrameViolation, Opcode, frame_header
from sfu.signaling.messages import MESSAGE_LIMIT_BYTES
from sfu.signaling.session import CLOSE_SILENT, State

logger = logging.getLogger(__name__)

SUBPROTOCOL = "sfu"
TOKEN_PREFIX = "token."
RESUME_PREFIX = "resume."
RETRY_AFTER = 5
"""Seconds that a full or ending server asks to be left in peace for."""
CLOSE_UNSUPPORTED = 1003


def _behind(prefix: str, protocols: list[str]) -> str:
    """What a subprotocol of this prefix brings; empty: there is none."""
    return next((part[len(prefix) :] for part in protocols if part.startswith(prefix)), "")


def _unavailable(error: AtCapacity, origin: str | None) -> web.Response:
    """503 with the reason, also for a page elsewhere, whose `origin` was accepted: a browser's WebSocket does not tell
    its page how it was refused, so the page asks again without one."""
    return web.Response(
        status=error.http_status,
        body=msgspec.json.encode({"code": error.code, "message": error.message}),
        content_type="application/json",
        headers={
            "Retry-After": str(RETRY_AFTER),
            "Cache-Control": "no-store",
            **({"Access-Control-Allow-Origin": origin, "Vary": "Origin"} if origin else {}),
        },
    )


class TransportSocket:
    """The sending half. `close` makes the socket's own task end it."""

    __slots__ = ("_deadline", "_transport", "close_code")

    def __init__(self, transport: asyncio.Transport, deadline: asyncio.Timeout) -> None:
        self._transport = transport
        self._deadline = deadline
        self.close_code = 0
        "0 while it is open."

    def write(self, payload: bytes) -> int:
        transport = self._transport
        if self.close_code or transport.is_closing():
            return 0
        transport.write(frame_header(Opcode.TEXT, len(payload)) + payload)
        return transport.get_write_buffer_size()

    def close(self, code: int) -> None:
        if not self.close_code:
            self.close_code = code
            if not self._deadline.expired():
                self._deadline.reschedule(asyncio.get_running_loop().time())

    def finish(self) -> int:
        """Its task is past the loop: nothing is written any more. The code to close with."""
        self.close_code = self.close_code or CLOSE_SILENT
        return self.close_code


class WebSockets:
    """The `GET /ws` of a server, and its count of sockets."""

    def __init__(self, context: Context, origins: Origins, addresses: ClientAddresses | None = None) -> None:
        """`addresses` None: forwarding headers are read of any peer, or of none, as the settings say."""
        self._context = context
        self._origins = origins
        self._addresses = addresses or ClientAddresses(any_peer=context.settings.trust_forwarded_for)
        self._unjoined: Counter[str] = Counter()
        self.open = 0
        self.all_closed = asyncio.Event()
        self.all_closed.set()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        protocols = [part.strip() for part in request.headers.get("Sec-WebSocket-Protocol", "").split(",")]
        handshake_error = self._refusal(request, protocols)
        if handshake_error is not None:
            return handshake_error
        token = _behind(TOKEN_PREFIX, protocols)
        answer = UpgradeResponse(request, SUBPROTOCOL if SUBPROTOCOL in protocols else None)
        address = self._address(request)
        self.open += 1
        self.all_closed.clear()
        self._unjoined[address] += 1
        try:
            await self._converse(request, answer, token, address)
        finally:
            self.open -= 1
            if not self.open:
                self.all_closed.set()
        return answer

    def _refusal(self, request: web.Request, protocols: list[str]) -> web.Response | None:
        if not self._origins.accepts(request.headers.get("Origin"), request.headers.get("Host")):
            return web.Response(status=403, text="This origin may not open a WebSocket here.\n")
        if protocols != [""] and SUBPROTOCOL not in protocols:
            # aiohttp would log the list that it was offered, token and all.
            return web.Response(status=400, text=f"Offer the subprotocol {SUBPROTOCOL}, or none.\n")
        try:
            self._check_room(protocols)
        except AtCapacity as error:
            return _unavailable(error, request.headers.get("Origin"))
        if self._unjoined[self._address(request)] >= self._context.settings.unjoined_per_address:
            return web.Response(status=429, text="Too many sockets that have not joined.\n")
        return handshake_error(request, SUBPROTOCOL)

    def _check_room(self, protocols: list[str]) -> None:
        """Whether there is a place for whoever this is, as far as can be told before the first message.

        Whoever resumes has one already, and proves it with the key. The room, which a draining server has to know, is in
        the token, if that came with the request. The join asks once more. Raises AtCapacity.
        """
        context = self._context
        if context.draining:
            raise AtCapacity("This server is going down; try another.", code="draining")
        if self._resumes(_behind(RESUME_PREFIX, protocols)):
            return
        if self.open >= context.settings.max_sockets:
            raise AtCapacity("This server is full: it takes no more connections. Try again later.")
        context.access.admit("")
        token = _behind(TOKEN_PREFIX, protocols)
        if context.drain_ends_at is not None and token:
            try:
                room = context.access.authenticate(token).video.room
            except RemoteError:
                return  # the answer to its join says what is wrong with it
            context.access.admit(room)

    def _resumes(self, key: str) -> bool:
        session = self._context.sessions.get(key)
        return session is not None and session.state is State.JOINED

    def _address(self, request: web.Request) -> str:
        return self._addresses.client(request.remote or "", request.headers.items())

    def _joined(self, address: str) -> None:
        self._unjoined[address] -= 1
        if self._unjoined[address] <= 0:
            del self._unjoined[address]

    async def _converse(self, request: web.Request, answer: UpgradeResponse, token: str, address: str) -> None:
        """The root of a socket's task."""
        transport = request.transport
        stream: FrameStream | None = None
        connection: Connection | None = None
        socket: TransportSocket | None = None
        violation: FrameViolation | None = None
        joined = False
        try:
            if transport is not None:
                await answer.prepare(request)
                stream = FrameStream(request, transport, MESSAGE_LIMIT_BYTES)
                stream.start()
            async with asyncio.timeout(self._context.settings.join_deadline) as deadline:
                if transport is None or stream is None:
                    return
                socket = TransportSocket(transport, deadline)
                connection = Connection(self._context, socket, token)
                while not socket.close_code:
                    message = await stream.receive()
                    if message is None:
                        break
                    if message.opcode is Opcode.BINARY:
                        socket.close(CLOSE_UNSUPPORTED)
                        break
                    pause = connection.receive(message.text)
                    if not joined and connection.session is not None:
                        joined = True
                        self._joined(address)
                        if not socket.close_code:
                            deadline.reschedule(None)
                    if pause and not socket.close_code:
                        await asyncio.sleep(pause)
        except TimeoutError:
            pass
        except FrameViolation as found:
            violation = found
            self._context.counters.violations += 1
        except ConnectionError:
            pass  # the client is gone
        except Exception:
            logger.exception("socket failed")
        finally:
            if not joined:
                self._joined(address)
            code = socket.finish() if socket is not None else CLOSE_SILENT
            if connection is not None:
                connection.closed()
        if stream is not None:
            await self._close(stream, code, violation)

    async def _close(self, stream: FrameStream, code: int, violation: FrameViolation | None) -> None:
        timeout = self._context.settings.close_deadline
        if violation is not None:
            await stream.fail(violation, timeout)
        else:
            await stream.close(code, "", timeout)
