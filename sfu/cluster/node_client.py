"""HTTP requests and WebSockets to other nodes, signed with the secrets of the cluster."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final
from urllib.parse import quote

import aiohttp
import msgspec
from yarl import URL

from sfu.cluster.handover import ContinueRoom
from sfu.cluster.node_auth import NodeAuthentication
from sfu.cluster.peers import PeerAnswer, encode_node, is_dead
from sfu.cluster.ports import NodeInfo, Unavailable, Unreachable
from sfu.errors import AtCapacity

CONNECT_TIMEOUT: Final = 2.0
"""Seconds to reach another node."""
ANNOUNCE_TIMEOUT: Final = 1.0
ANNOUNCE_PATH: Final = "/internal/announce"
CONTINUE_TIMEOUT: Final = 5.0
CONTINUE_PATH: Final = "/internal/continue"
EDGES_PATH: Final = "/internal/edges"
EDGES_TIMEOUT: Final = 2.0
RELAY_PATH: Final = "/internal/relay"
RELAY_TIMEOUT: Final = 2.0
RELAY_ANSWER_BYTES: Final = 65_536
SESSIONS_LIMIT: Final = 256
"""Nodes with open connections. Beyond it, the connections to the first one are closed."""


class NodeClient:
    """Create it in the event loop. `close` it at the end."""

    def __init__(self, authentication: NodeAuthentication) -> None:
        self._authentication = authentication
        self._sessions: dict[str, aiohttp.ClientSession] = {}
        self._closing: set[asyncio.Task[None]] = set()

    async def close(self) -> None:
        sessions, self._sessions = list(self._sessions.values()), {}
        await asyncio.gather(*(session.close() for session in sessions), *self._closing)

    async def connect(
        self, node: NodeInfo, target: str, protocols: Sequence[str], client: str
    ) -> aiohttp.ClientWebSocketResponse:
        """Opens a WebSocket for a client of this node. Raises Unavailable."""
        session, url = self._session(node, target)
        headers = self._authentication.sign("GET", target, to=node.id, client=client)
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT):
                return await session.ws_connect(
                    url, protocols=protocols, headers=headers, max_msg_size=0, autoping=True
                )
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise Unavailable("The node of this room does not answer. Try again.") from error

    async def request(
        self,
        node: NodeInfo,
        method: str,
        target: str,
        *,
        headers: Mapping[str, str],
        client: str,
        data: bytes | None = None,
        timeout: float | None = None,
    ) -> aiohttp.ClientResponse:
        """Sends a request, e.g. one of a client. The caller releases the response.

        Raises Unavailable when the node does not answer (Unreachable: it refuses connections), and OSError or ClientError later
        in the body. `timeout`: seconds for the whole response; None: no limit.
        """
        session, url = self._session(node, target)
        signed = self._authentication.sign(method, target, to=node.id, client=client, body=data or b"")
        limits = aiohttp.ClientTimeout(total=timeout, sock_connect=CONNECT_TIMEOUT)
        try:
            return await session.request(
                method,
                url,
                headers={**headers, **signed},
                data=data,
                timeout=limits,
                allow_redirects=False,
            )
        except aiohttp.ClientConnectorError as error:
            raise Unreachable("The node of this room does not answer. Try again.") from error
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise Unavailable("The node of this room does not answer. Try again.") from error

    async def announce(self, peer: NodeInfo, node: NodeInfo) -> PeerAnswer:
        """Implements Peers."""
        try:
            response = await self._post(peer, ANNOUNCE_PATH, encode_node(node), ANNOUNCE_TIMEOUT)
        except Unavailable:
            return PeerAnswer.NONE
        async with response:
            return {204: PeerAnswer.RENEWED, 503: PeerAnswer.NO_DIRECTORY}.get(response.status, PeerAnswer.NONE)

    async def continue_room(self, node: NodeInfo, request: ContinueRoom) -> None:
        """Implements Target."""
        response = await self._post(node, CONTINUE_PATH, msgspec.msgpack.encode(request), CONTINUE_TIMEOUT)
        async with response:
            if response.status != 204:
                raise AtCapacity(await _message(response) or f"The node {node.id} answers {response.status}.")

    async def asks_for_edges(self, node: NodeInfo, room: str) -> bool:
        """Implements Nodes of spread.py."""
        try:
            response = await self.request(
                node, "GET", f"{EDGES_PATH}?room={quote(room, safe='')}", headers={}, client="", timeout=EDGES_TIMEOUT
            )
        except Unavailable:
            return False
        async with response:
            return response.status == 200

    async def is_dead(self, node: NodeInfo) -> bool:
        return await is_dead(node)

    async def relay(self, node: NodeInfo, message: bytes) -> bytes:
        """Passes a message to the relay of another node and returns its answer. Raises Unavailable."""
        response = await self._post(node, RELAY_PATH, message, RELAY_TIMEOUT)
        try:
            async with response:
                if response.status == 200 and (response.content_length or 0) <= RELAY_ANSWER_BYTES:
                    return await response.read()
                raise Unavailable(f"The relay of the node answers {response.status}.")
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise Unavailable("The relay of the node does not answer.") from error

    async def _post(self, node: NodeInfo, path: str, data: bytes, timeout: float) -> aiohttp.ClientResponse:
        """A request of this node with a MessagePack body. Raises Unavailable."""
        headers = {"Content-Type": "application/msgpack"}
        return await self.request(node, "POST", path, headers=headers, client="", data=data, timeout=timeout)

    def _session(self, node: NodeInfo, target: str) -> tuple[aiohttp.ClientSession, URL]:
        unix = node.url.startswith("unix:")
        session = self._sessions.get(node.url)
        if session is None:
            connector = aiohttp.UnixConnector(node.url.removeprefix("unix:"), limit=0) if unix else None
            session = self._sessions[node.url] = aiohttp.ClientSession(
                connector=connector or aiohttp.TCPConnector(limit=0, ttl_dns_cache=None),
                auto_decompress=False,
                cookie_jar=aiohttp.DummyCookieJar(),
            )
            if len(self._sessions) > SESSIONS_LIMIT:
                oldest = self._sessions.pop(next(iter(self._sessions)))
                task = asyncio.create_task(oldest.close())
                self._closing.add(task)
                task.add_done_callback(self._closing.discard)
        base = "http://node" if unix else node.url
        return session, URL(base + target, encoded=True)


async def _message(response: aiohttp.ClientResponse) -> str:
    """The message of an error response; empty: it has none."""
    try:
        return str((await response.json())["message"])
    except (aiohttp.ClientError, OSError, ValueError, TypeError, KeyError):
        return ""
