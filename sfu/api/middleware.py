"""Middlewares for all HTTP responses: security headers, CORS, JSON errors, counters and the access log.

RFC 6797 (HSTS), Fetch standard (CORS), CSP Level 3, RFC 6750 3 (`WWW-Authenticate: Bearer`).
"""

import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable

import msgspec
from aiohttp import hdrs, web
from aiohttp.typedefs import Handler, Middleware

from sfu.api import cors
from sfu.api.schemas import Problem
from sfu.auth.addresses import ClientAddresses
from sfu.auth.origins import Origins
from sfu.errors import RemoteError
from sfu.signaling.landing import client_of

log = logging.getLogger("sfu.api")

CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data: blob:",
        "font-src 'self'",
        "connect-src 'self'",
        "media-src 'self' blob:",
        "worker-src 'self' blob:",
        "manifest-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'self'",
    )
)
RESOURCE_POLICY = "Cross-Origin-Resource-Policy"
"""A route may override it."""
SECURITY_HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "Permissions-Policy": "camera=(self), microphone=(self), display-capture=(self), geolocation=(), payment=(), usb=()",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    RESOURCE_POLICY: "same-origin",
    "Server": "aiosfu",
}
TRANSPORT_SECURITY = "max-age=31536000"
BODY_TIMEOUT = 10.0
"""Seconds to receive a complete request body."""
RETRY_AFTER = 5
"""`Retry-After` when full or draining (RFC 9110 10.2.3), in seconds."""

CLIENT_GONE = 499
"""Status in counters and access log for a request whose client closed the connection before the response."""
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

_HTTP_CODES = {404: "not_found", 405: "method_not_allowed", 408: "timeout", 413: "too_large", 415: "unsupported_media"}


class RequestCounters:
    """Counters of requests. Labels come from fixed sets, so that clients cannot create new ones."""

    __slots__ = ("by_route", "refused_tokens")

    def __init__(self) -> None:
        self.by_route: Counter[tuple[str, str, str]] = Counter()
        self.refused_tokens: Counter[str] = Counter()


REQUEST_COUNTERS = web.AppKey("requests", RequestCounters)
"""The application's counters, for routes that handle RemoteError themselves."""


def route_of(request: web.Request) -> str:
    """The pattern of the route. Never the path, which may contain a room name."""
    resource = request.match_info.route.resource
    return resource.canonical if resource is not None else "none"


def bearer_token(request: web.Request) -> str:
    """The token of the header `Authorization: Bearer` (RFC 6750 2.1); empty: there is none."""
    scheme, _, token = request.headers.get(hdrs.AUTHORIZATION, "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def problem(status: int, code: str, message: str) -> web.Response:
    headers = {"Cache-Control": "no-store"}
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    elif status == 503:
        headers["Retry-After"] = str(RETRY_AFTER)
    return web.Response(
        status=status,
        body=msgspec.json.encode(Problem(code=code, message=message)),
        content_type="application/json",
        headers=headers,
    )


def problem_of(error: RemoteError) -> web.Response:
    # 401 for a missing or invalid token: the client may retry with another one. 403 for a missing grant.
    status = 401 if error.code.startswith("token_") else error.http_status
    return problem(status, error.code, error.message)


def error_middleware(requests: RequestCounters) -> Middleware:
    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except RemoteError as error:
            if error.code.startswith("token_"):
                requests.refused_tokens[error.code] += 1
            return problem_of(error)
        except web.HTTPException as error:
            if error.status < 400:
                raise
            answer = problem(error.status, _HTTP_CODES.get(error.status, "error"), f"{error.reason}.")
            if hdrs.ALLOW in error.headers:
                answer.headers[hdrs.ALLOW] = error.headers[hdrs.ALLOW]
            return answer
        except TimeoutError:
            return problem(408, "timeout", "The request body arrived too slowly.")
        except Exception as error:
            if isinstance(error, ConnectionError) and (request.transport is None or request.transport.is_closing()):
                return web.Response(status=CLIENT_GONE)  # never sent; without it, aiohttp would log the error
            log.exception("request failed", extra={"method": request.method, "route": route_of(request)})
            return problem(500, "internal", "Internal error. The server's log has the details.")

    return middleware


def cors_middleware(origins: Origins, base_path: str = "") -> Middleware:
    """Rejects API requests from pages of other origins and answers CORS preflight requests."""
    api = ("/api/", f"{base_path}/api/")

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        origin = request.headers.get(hdrs.ORIGIN)
        if origin is None or not request.path.startswith(api):
            return await handler(request)
        if not origins.accepts(origin, request.headers.get(hdrs.HOST)):
            answer: web.StreamResponse = problem(
                403, "origin_refused", "This origin is not allowed to use this server."
            )
        else:
            preflight = request.method == "OPTIONS" and hdrs.ACCESS_CONTROL_REQUEST_METHOD in request.headers
            answer = web.Response(status=204, headers=cors.API_PREFLIGHT) if preflight else await handler(request)
            answer.headers[hdrs.ACCESS_CONTROL_ALLOW_ORIGIN] = origin
            answer.headers[hdrs.ACCESS_CONTROL_EXPOSE_HEADERS] = cors.EXPOSED
        answer.headers[hdrs.VARY] = "Origin"
        return answer

    return middleware


def request_log_middleware(requests: RequestCounters, addresses: ClientAddresses, *, access_log: bool) -> Middleware:
    """Counts and logs each request after its response, and each WebSocket after its end.

    It must wrap the error middleware, so that it sees the final status.
    """

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        started = time.monotonic()
        status = CLIENT_GONE
        try:
            answer = await handler(request)
            status = answer.status
            return answer
        except web.HTTPException as error:
            status = error.status
            raise
        finally:
            route = route_of(request)
            method = request.method if request.method in METHODS else "other"
            requests.by_route[method, route, str(status)] += 1
            if access_log:
                fields = {
                    "method": method,
                    "route": route,
                    "status": status,
                    "seconds": round(time.monotonic() - started, 4),
                    "remote": client_of(request, addresses),
                }
                log.log(logging.DEBUG if route in PROBES else logging.INFO, "request", extra=fields)

    return middleware


PROBES = frozenset({"/healthz", "/livez", "/readyz", "/metrics"})


def security_headers(*, tls: bool) -> Callable[[web.Request, web.StreamResponse], Awaitable[None]]:
    """A signal handler for `on_response_prepare`, which receives every response, files included."""

    async def add(request: web.Request, answer: web.StreamResponse) -> None:
        if answer.status == 101:
            return  # a WebSocket: the headers apply to documents only
        policy = answer.headers.get(RESOURCE_POLICY)
        for name, value in SECURITY_HEADERS.items():
            answer.headers[name] = value
        if policy is not None:
            answer.headers[RESOURCE_POLICY] = policy
        if tls:
            answer.headers["Strict-Transport-Security"] = TRANSPORT_SECURITY

    return add
