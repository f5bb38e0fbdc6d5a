"""Forwards requests about a room to the node that serves it, and merges the lists of all nodes.

Any node answers any request. The route tells the room; its home answers, and the landing node passes the response on while it
arrives: playlists, event streams and long polling work as on one node.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, Protocol

import aiohttp
import msgspec
from aiohttp import hdrs, web
from aiohttp.typedefs import Handler, Middleware

from sfu.api.middleware import BODY_TIMEOUT, bearer_token, problem_of, route_of
from sfu.auth.addresses import ClientAddresses
from sfu.auth.tokens import Claims
from sfu.cluster.ports import NodeInfo, Placement, Unavailable, Unreachable
from sfu.errors import RemoteError
from sfu.signaling.landing import FORWARDED_CLIENT
from sfu.telemetry.merged_metrics import merge_pages

log = logging.getLogger("sfu.api")

ROOM_ROUTES: Final = ("/api/v1/rooms/{room}", "/whip/{room}", "/whep/{room}", "/hls/{room}")
"""Beginnings of the routes that the home of a room serves. Pages with a room in their path are the same on all nodes."""
API_ROUTES: Final = "/api/v1/rooms"
SAFE_METHODS: Final = frozenset({hdrs.METH_GET, hdrs.METH_HEAD})
NODE_ROUTES: Final = "/api/v1/nodes/{node}"
"""Beginning of the routes that the named node serves."""
BODY_ROUTES: Final = {("POST", "/api/v1/rooms"): ("name", True), ("POST", "/api/dev/token"): ("room", False)}
"""Routes with the room in the body: field, and whether the request creates the room."""
CREATING_ROUTES: Final = {("POST", "/whip/{room}"), ("POST", "/api/v1/rooms/{room}/ingest")}
LISTS: Final = frozenset({"/api/v1/rooms", "/api/v1/egress", "/api/v1/ingest"})
METRICS: Final = "/metrics"
LIST_TIMEOUT: Final = 2.0
"""Seconds for the list of another node. One that does not answer is left out."""
LIST_LIMIT_BYTES: Final = 16 << 20
ATTEMPTS: Final = 2
"""Homes to which a request is sent, if the first one does not get it."""
NOT_HOME: Final = "X-Sfu-Not-Home"
"""Header of a response: the node is not the home of the room and did not handle the request."""
_NOT_FORWARDED: Final = frozenset(
    {
        "connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "te", "trailer", "transfer-encoding",
        "upgrade", "content-length", "expect", "forwarded", "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host",
        "x-real-ip", "via", "date", "server",
    }
)  # fmt: skip
"""Headers of a connection (RFC 9110 7.6.1), and those that name the client: nodes sign its address instead."""
_NODE_PREFIX: Final = "x-sfu-"


class NodeRequests(Protocol):
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
        """Raises Unavailable."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Forwarding:
    """`creates`: whether a request with these claims creates a room that does not exist."""

    placement: Placement
    nodes: NodeRequests
    living: Callable[[], Awaitable[Mapping[str, NodeInfo]]]
    node_id: str
    authenticate: Callable[[str], Claims]
    creates: Callable[[Claims], bool]
    addresses: ClientAddresses
    base_path: str = ""
    merges_metrics: bool = False
    "The page of any worker contains the metrics of all workers of this machine."


def forwarding_middleware(forwarding: Forwarding) -> Middleware:
    """Must be the innermost middleware: it stands in for the handler of the route."""

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        route = route_of(request).removeprefix(forwarding.base_path)
        own = FORWARDED_CLIENT not in request
        if request.method == hdrs.METH_GET and own:
            if route in LISTS:
                return await _merged_list(forwarding, request, await handler(request))
            if route == METRICS and forwarding.merges_metrics:
                return await _merged_metrics(forwarding, request, await handler(request))
        if own and route.startswith("/hls/"):
            return await handler(request)  # as an edge
        for attempt in range(ATTEMPTS):
            room, home = await _home(forwarding, request, route)
            if home is None:
                return await handler(request)
            if not own:
                return _not_home()
            try:
                return await _forward(forwarding, request, home)
            except Unavailable as error:
                # The cached home is gone, or it is not the home any more.
                forwarding.placement.forget_home(room, home)
                repeatable = isinstance(error, Unreachable) or request.method in SAFE_METHODS
                if not repeatable or attempt == ATTEMPTS - 1:
                    raise
        raise AssertionError("unreachable")

    return middleware


def _not_home() -> web.Response:
    answer = problem_of(Unavailable("The room moves to another node. Try again."))
    answer.headers[NOT_HOME] = "1"
    return answer


async def _home(forwarding: Forwarding, request: web.Request, route: str) -> tuple[str, NodeInfo | None]:
    """The room, and the other node that serves the request; None: this one, which also answers requests that are not valid."""
    method = request.method
    if route.startswith(NODE_ROUTES):
        return "", await _named_node(forwarding, request)
    field, creates = BODY_ROUTES.get((method, route), ("", False))
    if method == hdrs.METH_OPTIONS or not (field or route.startswith(ROOM_ROUTES)):
        return "", None
    if route.startswith("/hls/") or route == "/api/dev/token":
        claims = None  # the landing node has checked the request
    else:
        try:
            claims = forwarding.authenticate(bearer_token(request))
        except RemoteError:
            return "", None
    room = await _room_of_body(request, field) if field else request.match_info["room"]
    if not room:
        return "", None
    creates = (creates or (method, route) in CREATING_ROUTES) and claims is not None and forwarding.creates(claims)
    home = await forwarding.placement.find_home(room, create=creates)
    if home is None and method not in SAFE_METHODS and route.startswith(API_ROUTES):
        # Joins check it themselves. Media, viewers and leaving do not depend on it.
        forwarding.placement.check_home(room)
    return room, home


async def _named_node(forwarding: Forwarding, request: web.Request) -> NodeInfo | None:
    """The other node in the path; None: this node, or there is no such node."""
    node = request.match_info["node"]
    try:
        forwarding.authenticate(bearer_token(request))
    except RemoteError:
        return None
    return (await forwarding.living()).get(node) if node != forwarding.node_id else None


async def _room_of_body(request: web.Request, field: str) -> str:
    """Empty: the body is malformed."""
    if request.headers.get(hdrs.CONTENT_ENCODING, "identity") != "identity":
        return ""
    async with asyncio.timeout(BODY_TIMEOUT):
        data = await request.read()
    try:
        room = msgspec.json.decode(data, type=dict[str, Any]).get(field)
    except (msgspec.DecodeError, RecursionError):
        return ""
    return room if isinstance(room, str) else ""


async def _forward(forwarding: Forwarding, request: web.Request, home: NodeInfo) -> web.StreamResponse:
    async with asyncio.timeout(BODY_TIMEOUT):
        data = await request.read() if request.body_exists else None
    response = await forwarding.nodes.request(
        home,
        request.method,
        request.rel_url.raw_path_qs,
        headers=_headers(request),
        client=forwarding.addresses.client(request.remote or "", request.headers.items()),
        data=data,
    )
    async with response:
        if NOT_HOME in response.headers:
            raise Unreachable("The room moves to another node. Try again.")
        answer = web.StreamResponse(status=response.status, reason=response.reason)
        for name, value in response.headers.items():
            if name.lower() not in _NOT_FORWARDED:
                answer.headers.add(name, value)
        if response.content_length is not None:
            answer.content_length = response.content_length
        await answer.prepare(request)
        try:
            async for chunk in response.content.iter_any():
                await answer.write(chunk)
        except aiohttp.ClientError:
            # The home is gone in the middle of the body: the client must not take it for complete.
            if request.transport is not None:
                request.transport.abort()
        else:
            await answer.write_eof()
    return answer


async def _merged_list(forwarding: Forwarding, request: web.Request, answer: web.StreamResponse) -> web.StreamResponse:
    """The response of this node with the entries of all others."""
    if not isinstance(answer, web.Response) or answer.status != 200 or not isinstance(answer.body, bytes):
        return answer
    document: dict[str, list[msgspec.Raw]] = msgspec.json.decode(answer.body, type=dict[str, list[msgspec.Raw]])
    for page in (await _from_others(forwarding, request)).values():
        with suppress(msgspec.DecodeError):
            for key, entries in msgspec.json.decode(page, type=dict[str, list[msgspec.Raw]]).items():
                document.setdefault(key, []).extend(entries)
    answer.body = msgspec.json.encode(document)
    return answer


async def _merged_metrics(
    forwarding: Forwarding, request: web.Request, answer: web.StreamResponse
) -> web.StreamResponse:
    if not isinstance(answer, web.Response) or answer.status != 200 or not isinstance(answer.body, bytes):
        return answer
    pages = {forwarding.node_id: answer.body, **await _from_others(forwarding, request)}
    answer.body = merge_pages(dict(sorted(pages.items())))
    return answer


async def _from_others(forwarding: Forwarding, request: web.Request) -> dict[str, bytes]:
    """The bodies of the same request to all other nodes, by node."""
    nodes = [node for node in (await forwarding.living()).values() if node.id != forwarding.node_id]
    client = forwarding.addresses.client(request.remote or "", request.headers.items())
    target, headers = request.rel_url.raw_path_qs, _headers(request)

    async def ask(node: NodeInfo) -> bytes | None:
        try:
            response = await forwarding.nodes.request(
                node, "GET", target, headers=headers, client=client, timeout=LIST_TIMEOUT
            )
            async with response:
                body = await response.content.read(LIST_LIMIT_BYTES) if response.status == 200 else None
                while body is not None and not response.content.at_eof() and len(body) < LIST_LIMIT_BYTES:
                    body += await response.content.read(LIST_LIMIT_BYTES - len(body))
                return body
        except (Unavailable, aiohttp.ClientError, TimeoutError) as error:
            log.warning("a node is missing in a list", extra={"node": node.id, "reason": str(error)})
            return None

    bodies = await asyncio.gather(*map(ask, nodes))
    return {node.id: body for node, body in zip(nodes, bodies, strict=True) if body is not None}


def _headers(request: web.Request) -> dict[str, str]:
    return {
        name: value
        for name, value in request.headers.items()
        if name.lower() not in _NOT_FORWARDED and not name.lower().startswith(_NODE_PREFIX)
    }
