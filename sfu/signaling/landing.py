"""Passes a client's WebSocket on to the node that serves its room.

Any node takes the TCP connection of a client: the landing node. The first message names the room, by its token or by the
resume key. If another node is the home of the room, the landing node opens a WebSocket to it and copies messages both ways.
Media go directly between the client and the home.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

import aiohttp
from aiohttp import web

from sfu.auth.addresses import ClientAddresses
from sfu.auth.tokens import Claims
from sfu.cluster.ports import NodeInfo, Placement, Unavailable
from sfu.errors import RemoteError
from sfu.rooms.lobby import WaitingParticipant
from sfu.rooms.participant import Participant, ParticipantSink, Profile
from sfu.signaling.frame_stream import FrameStream
from sfu.signaling.frames import Frame, Opcode
from sfu.signaling.messages import Join
from sfu.signaling.ports import ResumeKeys
from sfu.signaling.profile import profile_of

CLOSE_RESTART = 1012
"""The home is gone (IANA registry of RFC 6455 close codes). The client opens a new socket and resumes."""
CLOSE_NORMAL = 1000
NO_CODES = (1005, 1006)
"""Close codes that are never sent: the connection ended without one."""
FORWARDED_CLIENT = web.RequestKey("sfu.client", str)
"""Key of a request from another node: the address of the client, empty if the request is the node's own."""


def client_of(request: web.Request, addresses: ClientAddresses) -> str:
    """Address of the client, also if another node has forwarded the request."""
    forwarded: str | None = request.get(FORWARDED_CLIENT)
    if forwarded is not None:
        return forwarded
    return addresses.client(request.remote or "", request.headers.items())


class NodeConnector(Protocol):
    async def connect(
        self, node: NodeInfo, target: str, protocols: list[str], client: str
    ) -> aiohttp.ClientWebSocketResponse:
        """Raises Unavailable."""


class AcceptedJoin(Protocol):
    """A join that the home of the room has answered, for a client that this node serves. Taken or abandoned once."""

    def take(self, sink: ParticipantSink) -> Participant | WaitingParticipant:
        """Raises RemoteError when the home has refused the join."""

    def abandon(self) -> None:
        """Idempotent, and without effect after `take`."""


class Edges(Protocol):
    """Rooms of other nodes of which this node serves participants."""

    async def join(self, room: str, home: NodeInfo, profile: Profile) -> AcceptedJoin | None:
        """None: the home serves the client itself. Raises RemoteErrors."""


class ClientSocket(Protocol):
    """The client's socket, to write to."""

    close_code: int

    def write(self, payload: bytes) -> int: ...

    def close(self, code: int) -> None: ...


@dataclass(frozen=True, slots=True)
class Landing:
    """`creates`: whether a join with these claims creates a room that does not exist."""

    placement: Placement
    nodes: NodeConnector
    authenticate: Callable[[str], Claims]
    creates: Callable[[Claims], bool]
    resume_keys: ResumeKeys
    edges: Edges | None = None

    async def find_home(self, message: Join, token: str) -> tuple[NodeInfo | None, Claims | None]:
        """The node that serves the room which the message joins, and the claims of a new participant. Node None: this one,
        which also answers invalid messages. Raises Unavailable."""
        opened = self.resume_keys.open(message.resume) if message.resume else None
        if opened is not None:
            # The former home of the room may be dead: a claim lets this cluster continue the room.
            return await self.placement.find_home(opened[1].video.room, create=True), None
        try:
            claims = self.authenticate(message.token or token)
        except RemoteError:
            return None, None
        if not claims.video.room:
            return None, None
        return await self.placement.find_home(claims.video.room, create=self.creates(claims)), claims

    async def open_home(
        self, request: web.Request, message: Join, token: str, client: str
    ) -> aiohttp.ClientWebSocketResponse | AcceptedJoin | None:
        """A WebSocket to the node that serves the client, or its join if this node serves it in a room of another home. None:
        this node serves the room. Raises RemoteErrors."""
        node, claims = await self.find_home(message, token)
        if node is None:
            return None
        if FORWARDED_CLIENT in request:
            raise Unavailable("The room moves to another node. Try again.")
        if self.edges is not None and claims is not None:
            join = await self.edges.join(claims.video.room, node, profile_of(claims, message))
            if join is not None:
                return join
        protocols = [part.strip() for part in request.headers.get("Sec-WebSocket-Protocol", "").split(",")]
        return await self.nodes.connect(node, "/ws", [part for part in protocols if part], client)


async def splice(
    first: Frame,
    stream: FrameStream,
    socket: ClientSocket,
    drain: Callable[[], Awaitable[None]],
    home: aiohttp.ClientWebSocketResponse,
    end: asyncio.Future[None],
) -> int:
    """Copies messages until one side closes, or until `end`. Returns the close code for the client. Raises FrameViolation.

    A side that does not read stops the other: the client's transport by `drain`, the home by the flow control of aiohttp.
    """
    upward = asyncio.create_task(_upward(first, stream, home))
    downward = asyncio.create_task(_downward(home, socket, drain))
    try:
        await asyncio.wait((upward, downward, end), return_when=asyncio.FIRST_COMPLETED)
        if not upward.done() and not downward.done():
            return CLOSE_RESTART
        if upward.done() and not downward.done():
            upward.result()
            return CLOSE_NORMAL
        code = downward.result()
        return code if code is not None and code not in NO_CODES else CLOSE_RESTART
    except (aiohttp.ClientError, OSError):
        return CLOSE_RESTART
    finally:
        for task in (upward, downward):
            task.cancel()
        await asyncio.gather(upward, downward, return_exceptions=True)
        await home.close()


async def _upward(first: Frame, stream: FrameStream, home: aiohttp.ClientWebSocketResponse) -> None:
    frame: Frame | None = first
    while frame is not None:
        if frame.opcode is Opcode.TEXT:
            await home.send_str(frame.text)
        else:
            await home.send_bytes(frame.payload)
        frame = await stream.receive()


async def _downward(
    home: aiohttp.ClientWebSocketResponse, socket: ClientSocket, drain: Callable[[], Awaitable[None]]
) -> int | None:
    async for message in home:
        data = message.data
        socket.write(data.encode() if isinstance(data, str) else data)
        await drain()
    return home.close_code
