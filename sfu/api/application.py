"""Assembles the HTTP application: page, probes, metrics, admin API, development tokens, and routes of other packages."""

import asyncio
import logging
import mimetypes
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import msgspec
from aiohttp import hdrs, web
from msgspec import Struct

from sfu import __version__
from sfu.api import admin, egress, events, ingest, middleware, nodes, openapi, page, schemas
from sfu.api.admin import Call, Operation, authorize
from sfu.api.connection_limiter import ConnectionLimiter
from sfu.api.development import MESSAGE, Development, check_local
from sfu.api.files import File, attachment
from sfu.api.forwarding import forwarding_middleware
from sfu.api.internal_listener import (
    Cluster,
    announce_route,
    charged_connection,
    continue_route,
    edges_route,
    node_middleware,
    relay_route,
)
from sfu.api.loop_time import loop_budget_middleware
from sfu.api.metrics import HttpCollector
from sfu.api.middleware import BODY_TIMEOUT, bearer_token
from sfu.api.ports import NodePort, RoomsPort
from sfu.api.server import (
    CONNECTION_LIMITER,
    UNAUTHENTICATED_BUDGET,
    client_limit_middleware,
    head_complete_middleware,
)
from sfu.api.services import Services
from sfu.api.settings import Settings
from sfu.auth.addresses import ClientAddresses
from sfu.auth.origins import Origins
from sfu.cluster.node_client import ANNOUNCE_PATH, CONTINUE_PATH, EDGES_PATH, RELAY_PATH
from sfu.errors import AtCapacity, BadRequest, NotAuthorized
from sfu.forwarding.loop_budget import LoopBudget, make_unauthenticated_budget
from sfu.resources.disk_executor import DiskBusyError, DiskExecutor
from sfu.signaling.landing import client_of
from sfu.telemetry.metrics import CONTENT_TYPE, Metrics
from sfu.telemetry.scrape_cache import ScrapeCache

log = logging.getLogger("sfu.api")

PROXY_HEADERS = ("Forwarded", "X-Forwarded-For", "Via")
"""Every reverse proxy sends at least one of these, independent of the client's request (RFC 7239, RFC 9110 7.6.3)."""
DISK_THREADS = 2
DISK_JOBS = 512
"""Maximum requests that wait for the disk; further ones get 503. Reads of running downloads are never refused."""

B = TypeVar("B", bound=Struct)
OPERATIONS = (*admin.OPERATIONS, *egress.OPERATIONS, *events.OPERATIONS, *ingest.OPERATIONS, *nodes.OPERATIONS)
Respond = Callable[[web.Request], Awaitable[web.StreamResponse]]


def create_app(
    settings: Settings,
    services: Services,
    *,
    development: Development | None = None,
    page_root: Path | None = None,
    routes: Iterable[web.AbstractRouteDef] = (),
    access_log: bool = True,
    unauthenticated_budget: LoopBudget | None = None,
    addresses: ClientAddresses | None = None,
    cluster: Cluster | None = None,
) -> web.Application:
    """Creates the application. `cluster`: this node is one of several.

    `development`: issue development tokens. `page_root`: directory of the meeting page. `routes`: routes of other packages,
    such as the signalling WebSocket and HLS. Raises ConfigurationError for an invalid origin.
    """
    requests = middleware.RequestCounters()
    connections = ConnectionLimiter(settings, addresses)
    unauthenticated_budget = unauthenticated_budget or make_unauthenticated_budget()
    disk = DiskExecutor("api", threads=DISK_THREADS, jobs=DISK_JOBS)
    app = web.Application(
        client_max_size=settings.body_limit_bytes,
        middlewares=[
            head_complete_middleware,
            *((node_middleware(cluster.authentication),) if cluster is not None else ()),
            loop_budget_middleware(unauthenticated_budget, charged_connection, settings.base_path),
            middleware.request_log_middleware(requests, connections.addresses, access_log=access_log),
            middleware.cors_middleware(Origins(settings.allowed_origins), settings.base_path),
            middleware.error_middleware(requests),
            client_limit_middleware(connections),
            *((forwarding_middleware(cluster.forwarding),) if cluster is not None else ()),
        ],
    )
    app[CONNECTION_LIMITER], app[UNAUTHENTICATED_BUDGET], app[middleware.REQUEST_COUNTERS] = (
        connections,
        unauthenticated_budget,
        requests,
    )
    app.on_response_prepare.append(middleware.security_headers(tls=bool(settings.tls_certificate)))
    found: list[web.AbstractRouteDef] = [*_probes(services.node)]
    if settings.metrics:
        metrics = Metrics([*services.node.collectors, HttpCollector(requests, connections)])
        found.append(web.get("/metrics", _metrics(ScrapeCache(metrics), behind_proxy=settings.metrics_behind_proxy)))
    found += _development(development, services.rooms)
    base = settings.base_path
    found += (
        web.route(
            operation.method,
            operation.path,
            _operation(operation, services, base, disk),
        )
        for operation in OPERATIONS
    )
    document = msgspec.json.encode(openapi.document(__version__, OPERATIONS, base))
    found.append(web.get("/api/openapi.json", _constant(document)))
    found += routes
    if cluster is not None:
        found.append(web.post(ANNOUNCE_PATH, announce_route(cluster.announce)))
        found.append(web.post(CONTINUE_PATH, continue_route(cluster.continue_room)))
        found.append(web.get(EDGES_PATH, edges_route(cluster.asks_for_edges)))
        found.append(web.post(RELAY_PATH, relay_route(cluster.relay)))
    if page_root is not None:
        found += page.routes(page_root)
    if base:
        found += [*routes_below(base, found)]
    app.add_routes(_expecting(found))
    return app


def _expecting(routes: Iterable[web.AbstractRouteDef]) -> Iterator[web.RouteDef]:
    """The same routes with our handler for `Expect: 100-continue`."""
    for route in routes:
        assert isinstance(route, web.RouteDef)
        kwargs = {"expect_handler": _continue, **route.kwargs}
        yield web.RouteDef(route.method, route.path, route.handler, kwargs)


async def _continue(request: web.Request) -> None:
    """Answers `Expect: 100-continue` (RFC 9110 10.1.1).

    aiohttp's own handler raises when the client has disconnected, which aiohttp logs as an error. Here reading the body
    notices the disconnect.
    """
    if request.headers.get(hdrs.EXPECT, "").lower() != "100-continue":
        raise web.HTTPExpectationFailed(text="Only Expect: 100-continue is supported.")
    with suppress(ConnectionError):
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    request.writer.output_size = 0


def routes_below(base: str, routes: Iterable[web.AbstractRouteDef]) -> Iterator[web.RouteDef]:
    """The same routes below `base`, for a proxy that does not strip it."""

    async def slash(request: web.Request) -> web.StreamResponse:
        # Relative, because the server may have another URL for the client.
        query = f"?{request.query_string}" if request.query_string else ""
        raise web.HTTPPermanentRedirect(f"{base.rpartition('/')[2]}/{query}")

    yield web.get(base, slash)
    for route in routes:
        assert isinstance(route, web.RouteDef)
        yield web.RouteDef(route.method, f"{base}{route.path}", route.handler, route.kwargs)


def _json(shape: Struct, status: int = 200) -> web.Response:
    return web.Response(
        status=status,
        body=msgspec.json.encode(shape),
        content_type="application/json",
        headers={"Cache-Control": "no-store"},
    )


def _file(path: Path, disk: DiskExecutor) -> File:
    """A download. Never displayed inline, because participants control the content."""
    content_type = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    return File(
        path,
        {
            "Content-Type": content_type,
            "Content-Disposition": attachment(path.name),
            "Cache-Control": "private, no-cache",
        },
        disk.run,
        disk.run_on,
    )


def _constant(body: bytes) -> Respond:
    async def respond(request: web.Request) -> web.StreamResponse:
        return web.Response(body=body, content_type="application/json")

    return respond


def _probes(node: NodePort) -> list[web.RouteDef]:
    async def alive(request: web.Request) -> web.StreamResponse:
        return web.Response(text="ok\n")

    async def ready(request: web.Request) -> web.StreamResponse:
        if reason := node.not_ready():
            return web.Response(text=f"{reason}\n", status=503)
        full = node.no_new_rooms()
        return web.Response(text=f"ok, but accepts no new rooms: {full}\n" if full else "ok\n")

    return [web.get("/healthz", alive), web.get("/livez", alive), web.get("/readyz", ready)]


def _metrics(scrapes: ScrapeCache, *, behind_proxy: bool) -> Respond:
    async def respond(request: web.Request) -> web.StreamResponse:
        if not behind_proxy and any(name in request.headers for name in PROXY_HEADERS):
            raise web.HTTPNotFound
        return web.Response(body=await scrapes.page(), headers={"Content-Type": CONTENT_TYPE})

    return respond


def _development(development: Development | None, rooms: RoomsPort) -> list[web.RouteDef]:
    async def status(request: web.Request) -> web.StreamResponse:
        return _json(schemas.Development(dev=development is not None, message=MESSAGE if development else ""))

    async def token(request: web.Request) -> web.StreamResponse:
        assert development is not None
        client = client_of(request, request.app[CONNECTION_LIMITER].addresses)
        check_local(request.headers.get("Host"), request.headers.get("Origin"), client)
        return _json(development.token(await _body(request, schemas.DevelopmentTokenRequest), rooms))

    found = [web.get("/api/dev", status)]
    return [*found, web.post("/api/dev/token", token)] if development else found


async def _body(request: web.Request, shape: type[B]) -> B:
    # Refuse compressed bodies: aiohttp would decompress them before their length is known.
    if (
        request.content_type != "application/json"
        or request.headers.get(hdrs.CONTENT_ENCODING, "identity") != "identity"
    ):
        raise web.HTTPUnsupportedMediaType
    async with asyncio.timeout(BODY_TIMEOUT):
        data = await request.read()
    try:
        return msgspec.json.decode(data or b"{}", type=shape)
    except (msgspec.DecodeError, RecursionError) as error:
        reason = str(error).replace("`", "")
        raise BadRequest(f"The body is invalid: {reason}.") from None


def _operation(operation: Operation, services: Services, base_path: str, disk: DiskExecutor) -> Respond:
    async def respond(request: web.Request) -> web.StreamResponse:
        token = bearer_token(request)
        if not token:
            raise NotAuthorized("Send an access token in the header `Authorization: Bearer`.", code="token_missing")
        claims = services.verifier.verify(token, time.time())
        parameters = dict(request.match_info)
        # Authorize before reading the body.
        room = parameters.get("room", request.query.get("room", "") if "room" in operation.query else "")
        authorize(operation, claims.video, room)
        if operation.name == "createRoom" and (reason := services.node.no_new_rooms()):
            raise AtCapacity(f"This server accepts no new rooms: {reason}.")
        body = None if operation.body is None else await _body(request, operation.body)
        call = Call(services, claims, parameters, dict(request.query), body, base_path)
        done = operation.run(call)
        if isinstance(done, Coroutine):
            done = await done
        if callable(done):
            try:
                done = await disk.run(done)
            except DiskBusyError:
                raise AtCapacity("The server's disk is overloaded. Try again later.") from None
        answer = done
        if operation.method != "GET":
            fields = {"operation": operation.name, "key": claims.issuer, "by": claims.identity}
            log.info("admin operation", extra=fields)
        if isinstance(answer, Path):
            return _file(answer, disk)
        if answer is None:
            return web.Response(status=operation.status)
        return _json(answer, operation.status) if isinstance(answer, Struct) else await answer.respond(request)

    return respond
