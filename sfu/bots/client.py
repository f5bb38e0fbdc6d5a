"""Signalling client of a bot: joins, sends requests, answers pings, and resumes the session after a lost socket.

The protocol is described in PROTOCOL.md in sfu/signaling.
"""

import asyncio
import itertools
import logging
import random
import time
from collections.abc import Awaitable, Callable
from typing import Final, Protocol, TypeVar
from urllib.parse import urlsplit, urlunsplit

import aiohttp
import msgspec

from sfu.errors import ConfigurationError, RemoteError
from sfu.signaling import messages as m
from sfu.signaling.json_dialect import encode

log = logging.getLogger(__name__)

MIN_BACKOFF: Final = 0.2
MAX_BACKOFF: Final = 5.0
CONNECT_TIMEOUT: Final = 10.0
FINAL_CODES: Final = frozenset({1000, 1003, 1008, 1009, 4001})
"""Close codes after which a client must not reconnect."""
TRANSIENT: Final = frozenset(
    {
        "draining",
        "rate_limited",
        "internal",
        "at_capacity",
        "resume_failed",
        "room_full",
        "directory_unavailable",
        "cut_off",
    }
)
"""Error codes of a rejected join after which a retry may succeed."""
NOT_REPEATABLE: Final = (m.Chat, m.Data)
"""Requests that are not sent again after a reconnection, because the server may have carried them out."""

Request = (
    m.Publish | m.Unpublish | m.Mute | m.IceRestart | m.Subscribe | m.Unsubscribe | m.Chat | m.Data | m.UpdateMetadata
)
Reply = m.Ok | m.Answer | m.Error
_Request = TypeVar("_Request", bound=m.Message)
_decode = msgspec.json.Decoder(m.ServerMessage | list[m.ServerMessage]).decode


class ClientListener(Protocol):
    def joined(self, message: m.Joined) -> None:
        """`message.resumed` is False for a new session."""

    def event(self, message: m.ServerMessage) -> None:
        """Receives offers and all other messages except replies and pings."""


class SignalingClient:
    """Keeps one session. `run` returns after `leave`, and raises RemoteError if the server rejects or disconnects it."""

    def __init__(
        self,
        url: str,
        http: aiohttp.ClientSession,
        token: Callable[[], Awaitable[str]],
        listener: ClientListener,
        *,
        name: str = "",
        auto_subscribe: bool = True,
    ) -> None:
        self.url = socket_url(url)
        self.reconnects = 0
        self._http = http
        self._token = token
        self._listener = listener
        self._name = name
        self._auto_subscribe = auto_subscribe
        self._ids = itertools.count(1)
        self._socket: aiohttp.ClientWebSocketResponse | None = None
        self._joined = False
        self._open: dict[int, tuple[m.Message, asyncio.Future[Reply]]] = {}
        self._resume_key = ""
        self._last = 0
        self._heartbeat = 30.0
        self._leaving = False
        self._leave_message: m.Leave | None = None

    async def run(self) -> None:
        failures = 0
        while not self._leaving:
            began = time.monotonic()
            try:
                code = await self._connect()
            except (aiohttp.ClientError, OSError, TimeoutError) as error:
                if isinstance(error, aiohttp.WSServerHandshakeError) and error.status in (400, 401, 403, 404):
                    raise RemoteError(f"The server rejected the WebSocket: {error.status} {error.message}") from error
                if not self._resume_key and failures >= 5:
                    raise RemoteError(f"The server cannot be reached: {error}") from error
                code = 1006
            self._joined, self._socket = False, None
            leave_message, self._leave_message = self._leave_message, None
            if self._leaving:
                break
            if leave_message is not None and leave_message.action == "disconnect":
                raise RemoteError(leave_message.message, code=leave_message.reason)
            if leave_message is None and code in FINAL_CODES:
                raise RemoteError(f"The server closed the WebSocket with code {code}.")
            if leave_message is not None and leave_message.action == "reconnect":
                self._resume_key = ""
            failures = 0 if time.monotonic() - began > CONNECT_TIMEOUT else failures + 1
            self.reconnects += 1
            wait = min(MAX_BACKOFF, MIN_BACKOFF * 2 ** max(0, failures - 1)) * random.uniform(0.7, 1.3)
            await asyncio.sleep(max(wait, leave_message.retry_after if leave_message is not None else 0.0))

    async def request(self, message: Request) -> Reply:
        """Sends a request under a new id and waits for the reply, across a reconnection if necessary.

        Raises RemoteError if the reply is an error, and ConnectionError if it is unknown whether the server carried out
        the request.
        """
        numbered = msgspec.structs.replace(message, id=next(self._ids))
        future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._open[numbered.id] = (numbered, future)
        try:
            if self._joined:
                await self._send(numbered)
            reply = await future
        finally:
            self._open.pop(numbered.id, None)
        if isinstance(reply, m.Error):
            raise RemoteError(reply.message, code=reply.code)
        return reply

    async def answer(self, offer_id: int, sdp: str) -> None:
        await self._send(m.Answer(id=offer_id, sdp=sdp))

    async def leave(self) -> None:
        """Sends a leave message and closes the socket; `run` returns. Idempotent."""
        if not self._leaving:
            self._leaving = True
            await self._send(m.ClientLeave(reason="bot stopped"))
            if self._socket is not None:
                await self._socket.close()

    async def drop(self) -> None:
        """Closes the socket as a network failure would; the session is then resumed. For tests."""
        if self._socket is not None:
            await self._socket.close(code=4500)

    async def _send(self, message: m.Message) -> None:
        socket = self._socket
        if socket is not None and not socket.closed:
            try:
                await socket.send_str(encode(message).decode())  # type: ignore[arg-type]
            except (aiohttp.ClientError, OSError):
                log.debug("message not sent: socket closed")

    async def _connect(self) -> int:
        """Opens a socket and serves it until it closes. Returns the close code."""
        token = await self._token()
        # A server at capacity admits clients that present a resume key.
        protocols = ("sfu", f"resume.{self._resume_key}") if self._resume_key else ("sfu",)
        async with (
            asyncio.timeout(CONNECT_TIMEOUT) as deadline,
            self._http.ws_connect(self.url, protocols=protocols, max_msg_size=0, autoping=True) as socket,
        ):
            self._socket = socket
            await self._send(
                m.Join(
                    id=next(self._ids),
                    token=token,
                    resume=self._resume_key,
                    last=self._last if self._resume_key else 0,
                    name=self._name,
                    auto_subscribe=self._auto_subscribe,
                    client="sfu bot",
                )
            )
            try:
                return await self._listen(socket, deadline)
            except asyncio.CancelledError:
                if not deadline.expired():
                    await self.leave()  # while the socket is still open
                raise

    async def _listen(self, socket: aiohttp.ClientWebSocketResponse, deadline: asyncio.Timeout) -> int:
        while True:
            frame = await socket.receive()
            if frame.type is not aiohttp.WSMsgType.TEXT:
                return socket.close_code or 1006
            received = _decode(frame.data)
            for message in received if isinstance(received, list) else [received]:
                await self._received(message)
            # The deadline for joining becomes one for silence, also in the lobby.
            deadline.reschedule(asyncio.get_running_loop().time() + 2.5 * self._heartbeat)

    async def _received(self, message: m.ServerMessage) -> None:
        number = getattr(message, "n", 0)
        self._last = max(self._last, number)
        match message:
            case m.Ping():
                await self._send(m.Pong(at=message.at))
            case m.Joined():
                await self._enter(message)
            case m.Ok() | m.Answer() | m.Error():
                if isinstance(message, m.Error) and not self._joined:
                    self._refused(message)
                _, future = self._open.get(message.id, (None, None))
                if future is not None and not future.done():
                    future.set_result(message)
                elif isinstance(message, m.Error):
                    log.warning("error from the server", extra={"code": message.code})
            case m.Leave():
                self._leave_message = message
            case _:
                self._listener.event(message)

    def _refused(self, error: m.Error) -> None:
        if error.code not in TRANSIENT:
            raise RemoteError(error.message, code=error.code)
        action = "reconnect" if error.code == "resume_failed" else "resume"
        self._leave_message = m.Leave(reason="draining", message=error.message, action=action, retry_after=1.0)  # type: ignore[arg-type]

    async def _enter(self, message: m.Joined) -> None:
        self._resume_key, self._heartbeat = message.resume_key, message.heartbeat
        if not message.resumed:
            self._last = message.n
        self._joined = True
        repeated = list(self._open.values())
        self._listener.joined(message)
        for request, future in repeated:
            if message.resumed and not isinstance(request, NOT_REPEATABLE):
                await self._send(request)
            elif not future.done():
                future.set_exception(ConnectionError("the connection was lost before the reply arrived"))


def socket_url(url: str) -> str:
    """Converts `http://host:port` or `ws://…` to the URL of the signalling socket. Raises ConfigurationError."""
    parts = urlsplit(url)
    scheme = {"http": "ws", "https": "wss", "ws": "ws", "wss": "wss"}.get(parts.scheme)
    if scheme is None or not parts.netloc:
        raise ConfigurationError(
            f"--url {url} is invalid. Use a URL such as http://localhost:8080 or wss://sfu.example.org."
        )
    path = parts.path.rstrip("/")
    return urlunsplit((scheme, parts.netloc, path if path.endswith("/ws") else path + "/ws", "", ""))


def page_url(url: str) -> str:
    """Converts a server URL to the base URL of its HTTP API."""
    parts = urlsplit(socket_url(url))
    scheme = "https" if parts.scheme == "wss" else "http"
    return urlunsplit((scheme, parts.netloc, parts.path.removesuffix("/ws"), "", ""))
