"""WebSockets (RFC 6455): admission, selection of the dialect, and the loop that feeds a Connection.

Frames are written directly to the transport, unmasked and uncompressed, without an extra copy; the outbox bounds the
bytes that wait there. Each socket has one task, which belongs to aiohttp. Its only timeout is the join deadline at first
and later serves to end the socket.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Sequence

import aiohttp
import msgspec
from aiohttp import web

from sfu.auth.addresses import ClientAddresses
from sfu.auth.origins import Origins
from sfu.errors import AtCapacity, RemoteError
from sfu.signaling.connection import Connection
from sfu.signaling.dialect import Dialect
from sfu.signaling.frame_stream import FrameStream, UpgradeResponse, handshake_error
from sfu.signaling.frames import FrameViolation, Opcode, frame_header
from sfu.signaling.landing import Landing, client_of, splice
from sfu.signaling.messages import MESSAGE_LIMIT_BYTES
from sfu.signaling.session_state import CLOSE_SILENT, State
from sfu.signaling.sessions import Sessions

logger = logging.getLogger(__name__)

TOKEN_PREFIX = "token."
RESUME_PREFIX = "resume."
RETRY_AFTER = 5
"""`Retry-After` when the server is full or draining, in seconds."""
CLOSE_UNSUPPORTED = 1003


def _parameter(prefix: str, protocols: list[str]) -> str:
    """The rest of the first subprotocol with this prefix; empty: none."""
    return next((part[len(prefix) :] for part in protocols if part.startswith(prefix)), "")


def _unavailable(error: AtCapacity, origin: str | None) -> web.Response:
    """503 with the reason. A browser hides from its page why a WebSocket was refused, so the page repeats the request
    without one; `origin` is an accepted origin and allows a cross-origin page to read the answer."""
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
    """The sending half of a socket. `close` makes the socket's task end it."""

    __slots__ = ("_deadline", "_opcode", "_transport", "close_code")

    def __init__(self, transport: asyncio.Transport, deadline: asyncio.Timeout, opcode: Opcode) -> None:
        """`opcode`: of the messages to send, TEXT or BINARY."""
        self._transport = transport
        self._deadline = deadline
        self._opcode = opcode
        self.close_code = 0
        "0 while the socket is open."

    def write(self, payload: bytes) -> int:
        transport = self._transport
        if self.close_code or transport.is_closing():
            return 0
        transport.write(frame_header(self._opcode, len(payload)) + payload)
        return transport.get_write_buffer_size()

    def close(self, code: int) -> None:
        if not self.close_code:
            self.close_code = code
            if not self._deadline.expired():
                self._deadline.reschedule(asyncio.get_running_loop().time())

    def finish(self) -> int:
        """Stops all writes. Returns the code to close with."""
        self.close_code = self.close_code or CLOSE_SILENT
        return self.close_code


class WebSockets:
    """Serves `GET /ws` and counts the sockets."""

    def __init__(
        self,
        sessions: Sessions,
        dialects: Sequence[Dialect],
        origins: Origins,
        addresses: ClientAddresses | None = None,
        landing: Landing | None = None,
    ) -> None:
        """`dialects`: at least one. The first serves clients that offer no subprotocol. `addresses` None: the settings
        decide whether forwarding headers of all peers are trusted, or of none. `landing` None: this is the only node."""
        context = sessions.context
        self._context = context
        self._sessions = sessions
        self._dialects = {dialect.subprotocol: dialect for dialect in dialects}
        self._default = dialects[0]
        self._origins = origins
        self._addresses = addresses or ClientAddresses(any_peer=context.settings.trust_forwarded_for)
        self._landing = landing
        self._stopping: asyncio.Future[None] | None = None
        self._unjoined: Counter[str] = Counter()
        self.open = 0
        self.all_closed = asyncio.Event()
        self.all_closed.set()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        protocols = [part.strip() for part in request.headers.get("Sec-WebSocket-Protocol", "").split(",")]
        dialect = self._select_dialect(protocols)
        refusal = self._refusal(request, protocols, dialect)
        if refusal is not None:
            return refusal
        token = _parameter(TOKEN_PREFIX, protocols)
        answer = UpgradeResponse(request, dialect.subprotocol if dialect.subprotocol in protocols else None)
        address = self._address(request)
        self.open += 1
        self.all_closed.clear()
        self._unjoined[address] += 1
        try:
            await self._serve(request, answer, dialect, token, address)
        finally:
            self.open -= 1
            if not self.open:
                self.all_closed.set()
        return answer

    def stop_forwarding(self) -> None:
        """Closes the sockets of rooms on other nodes with 1012: their clients resume at another landing node. Idempotent."""
        stopping = self._forwarding_end()
        if not stopping.done():
            stopping.set_result(None)

    def _forwarding_end(self) -> asyncio.Future[None]:
        if self._stopping is None:
            self._stopping = asyncio.get_running_loop().create_future()
        return self._stopping

    def _select_dialect(self, protocols: list[str]) -> Dialect:
        """The first offered dialect that this server speaks, or the default."""
        return next((self._dialects[each] for each in protocols if each in self._dialects), self._default)

    def _refusal(self, request: web.Request, protocols: list[str], dialect: Dialect) -> web.Response | None:
        if not self._origins.accepts(request.headers.get("Origin"), request.headers.get("Host")):
            return web.Response(status=403, text="This origin may not open a WebSocket here.\n")
        if protocols != [""] and dialect.subprotocol not in protocols:
            # aiohttp would log the offered list, including the token.
            return web.Response(status=400, text=f"Offer the subprotocol {' or '.join(self._dialects)}, or none.\n")
        try:
            self._check_room(protocols)
        except AtCapacity as error:
            return _unavailable(error, request.headers.get("Origin"))
        if self._unjoined[self._address(request)] >= self._context.settings.unjoined_per_address:
            return web.Response(status=429, text="Too many sockets that have not joined.\n")
        return handshake_error(request, dialect.subprotocol)

    def _check_room(self, protocols: list[str]) -> None:
        """Checks capacity as far as possible before the first message; the join checks again.

        A client that resumes, and proves it with its key, already counts. A draining server needs the room, which is in
        the token if that came with the request. Raises AtCapacity.
        """
        context = self._context
        if context.draining:
            raise AtCapacity("This server is going down; try another.", code="draining")
        if self._resumes(_parameter(RESUME_PREFIX, protocols)):
            return
        if self.open >= context.settings.max_sockets:
            raise AtCapacity("This server is full and accepts no more connections. Try again later.")
        context.access.admit("")
        token = _parameter(TOKEN_PREFIX, protocols)
        if context.drain_ends_at is not None and token and self._landing is None:
            try:
                room = context.access.authenticate(token).video.room
            except RemoteError:
                return  # the reply to the join explains the error
            context.access.admit(room)

    def _resumes(self, key: str) -> bool:
        session = self._sessions.find(key)
        return session is not None and session.state is State.JOINED

    def _address(self, request: web.Request) -> str:
        return client_of(request, self._addresses)

    def _joined(self, address: str) -> None:
        self._unjoined[address] -= 1
        if self._unjoined[address] <= 0:
            del self._unjoined[address]

    async def _serve(
        self, request: web.Request, answer: UpgradeResponse, dialect: Dialect, token: str, address: str
    ) -> None:
        """The root of a socket's task."""
        transport = request.transport
        opcode = Opcode.BINARY if dialect.binary else Opcode.TEXT
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
                socket = TransportSocket(transport, deadline, opcode)
                connection = Connection(self._sessions, socket, dialect, token)
                while not socket.close_code:
                    message = await stream.receive()
                    if message is None:
                        break
                    if message.opcode is not opcode:
                        socket.close(CLOSE_UNSUPPORTED)
                        break
                    join = None
                    if self._landing is not None and connection.session is None:
                        join = connection.first_join(message.payload if dialect.binary else message.text)
                    if self._landing is not None and join is not None:
                        try:
                            home = await self._landing.open_home(request, join, token, address)
                        except RemoteError as error:
                            connection.refuse(message.payload if dialect.binary else message.text, error)
                            break
                        if home is not None and not isinstance(home, aiohttp.ClientWebSocketResponse):
                            connection.accept(home)
                        elif home is not None:
                            joined = True
                            self._joined(address)
                            deadline.reschedule(None)
                            drain, end = request.writer.drain, self._forwarding_end()
                            socket.close(await splice(message, stream, socket, drain, home, end))
                            break
                    pause = connection.receive(message.payload if dialect.binary else message.text)
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
            pass  # the client has disconnected
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
