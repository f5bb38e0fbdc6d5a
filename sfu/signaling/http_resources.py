"""HTTP sessions as resources: authentication, CORS, problem details, request bodies, and the session URL with its PATCH,
DELETE and OPTIONS. A protocol such as WHIP (whip.py) adds its endpoint.

RFC 9725 4 (WHIP), RFC 8840 9 (trickle ICE fragments), RFC 9110 13.1.1 (If-Match), RFC 9457 (problem details), RFC 6750
(bearer tokens), RFC 8288 (Link), Fetch standard (CORS).
"""

import asyncio
import hmac
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Final
from urllib.parse import quote

import msgspec
from aiohttp import hdrs, web

from sfu.auth.addresses import ClientAddresses
from sfu.auth.origins import Origins
from sfu.auth.tokens import TOKEN_LIMIT, Claims
from sfu.errors import BadRequest, NotAuthorized, NotFound, RateLimited, RemoteError
from sfu.sdp.ice_fragment import FRAGMENT_LIMIT, parse_fragment
from sfu.signaling.context import Context
from sfu.signaling.http_session import HttpSession, digest_of
from sfu.signaling.http_sessions import HttpSessions
from sfu.signaling.landing import client_of
from sfu.signaling.messages import IceServer

SDP: Final = "application/sdp"
ICE_FRAGMENT: Final = "application/trickle-ice-sdpfrag"
PROBLEM: Final = "application/problem+json"
BODY_TIMEOUT: Final = 10.0
"""Seconds to receive a complete request body."""
RETRY_AFTER: Final = 5
"""`Retry-After` when the server is full or draining, in seconds."""
EXPOSED: Final = "Location, ETag, Link, Accept-Post, Accept-Patch, Allow, Retry-After, WWW-Authenticate"
"""Response headers that scripts of other origins may read."""
ALLOWED_HEADERS: Final = "Authorization, Content-Type, If-Match, ETag"
"""`ETag`: some clients send it in place of `If-Match`. It has no effect, but a browser refuses the request without it."""
MAX_AGE: Final = "600"
"""Seconds for which a browser keeps the answer to a preflight request."""

Respond = Callable[[web.Request], Awaitable[web.Response]]


class Refusal(Exception):
    """A request that HTTP itself refuses."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message


def problem(status: int, code: str, message: str, retry_after: float = 0.0) -> web.Response:
    body = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": message,
        "code": code,
    }
    headers = {"Cache-Control": "no-store"}
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer" if code == "token_missing" else 'Bearer error="invalid_token"'
    elif status == 503 or retry_after:
        headers["Retry-After"] = str(math.ceil(retry_after) or RETRY_AFTER)
    return web.Response(status=status, body=msgspec.json.encode(body), content_type=PROBLEM, headers=headers)


def link_headers(servers: Sequence[IceServer]) -> list[tuple[str, str]]:
    """One `Link` per URL (RFC 9725 4.6)."""
    found = []
    for server in servers:
        for url in server.urls:
            link = f'<{url}>; rel="ice-server"'
            if server.username:
                link += f'; username="{server.username}"; credential="{server.credential}"; credential-type="password"'
            found.append(("Link", link))
    return found


class HttpResources:
    """One per server, for the routes of all protocols."""

    def __init__(
        self,
        context: Context,
        sessions: HttpSessions,
        origins: Origins,
        addresses: ClientAddresses,
        base_path: str = "",
    ) -> None:
        """`base_path`: path prefix of the server behind a proxy."""
        self.context = context
        self.sessions = sessions
        self._origins = origins
        self._addresses = addresses
        self._base_path = base_path

    def routes(self, path: str, methods: Mapping[str, Respond], accepts: str = SDP) -> list[web.RouteDef]:
        """Routes of a path, with CORS and problem details. Other methods get 405. `accepts`: content type of POST."""
        allowed = ", ".join([*methods, *(["HEAD"] if "GET" in methods else []), "OPTIONS"])

        async def not_allowed(request: web.Request) -> web.Response:
            answer = problem(405, "method_not_allowed", f"Use one of these methods: {allowed}.")
            answer.headers[hdrs.ALLOW] = allowed
            return answer

        async def options(request: web.Request) -> web.Response:
            headers: dict[str, str] = {hdrs.ALLOW: allowed}
            if "POST" in methods:
                headers["Accept-Post"] = accepts
            if "PATCH" in methods:
                headers["Accept-Patch"] = ICE_FRAGMENT
            return web.Response(headers=headers)

        found = [web.route(method, path, self._guarded(respond, allowed)) for method, respond in methods.items()]
        found.append(web.route("OPTIONS", path, self._guarded(options, allowed)))
        found.append(web.route("*", path, self._guarded(not_allowed, allowed)))
        return found

    def session_routes(self, path: str, patch: Respond | None = None) -> list[web.RouteDef]:
        """Routes of a session URL; `path` ends with `/{session}`. `patch`: in place of `self.patch`."""
        return self.routes(path, {"PATCH": patch or self.patch, "DELETE": self._delete, "GET": self._get})

    # -- requests ---------------------------------------------------------------------------------------------------

    def client(self, request: web.Request) -> str:
        """Address of the client."""
        return client_of(request, self._addresses)

    def authenticate(self, request: web.Request) -> tuple[Claims, str]:
        """The claims and the text of the bearer token. Raises NotAuthorized."""
        token = bearer(request)
        return self.context.access.authenticate(token), token

    async def body(self, request: web.Request, content_type: str, limit: int) -> str:
        """Raises Refusal, BadRequest, or TimeoutError."""
        if request.content_type != content_type:
            raise Refusal(415, "unsupported_media", f"Send a body of the type {content_type}.")
        if request.headers.get(hdrs.CONTENT_ENCODING, "identity") != "identity":
            raise Refusal(415, "unsupported_media", "Send the body without compression.")
        if (request.content_length or 0) > limit:
            raise Refusal(413, "too_large", f"The body is longer than {limit} bytes.")
        async with asyncio.timeout(BODY_TIMEOUT):
            data = await request.read()
        if len(data) > limit:
            raise Refusal(413, "too_large", f"The body is longer than {limit} bytes.")
        try:
            return data.decode()
        except UnicodeDecodeError:
            raise BadRequest("The body is not UTF-8 text.") from None

    def created(self, session: HttpSession, answer: str, *path: str) -> web.Response:
        """201 with the answer. `path`: the parts of the endpoint's path, unquoted."""
        parts = "/".join(quote(part, safe="") for part in path)
        response = web.Response(status=201, body=answer.encode(), content_type=SDP)
        response.headers[hdrs.LOCATION] = f"{self._base_path}/{parts}/{session.key}"
        response.headers[hdrs.ETAG] = session.etag
        response.headers[hdrs.CACHE_CONTROL] = "no-store"
        for name, value in link_headers(self.context.access.ice_servers(session.claims)):
            response.headers.add(name, value)
        return response

    # -- the session URL --------------------------------------------------------------------------------------------

    def session(self, request: web.Request) -> HttpSession:
        """The session of the URL, for the bearer that created it: with the same token, even if it has expired since, or
        with a valid token of the same identity, room and issuer. Raises NotFound or NotAuthorized."""
        token = bearer(request)
        session = self.sessions.find(request.match_info["session"])
        if session is None:
            raise NotFound("There is no such session.")
        if not hmac.compare_digest(digest_of(token), session.token_digest):
            claims, owner = self.context.access.authenticate(token), session.claims
            if (claims.identity, claims.video.room, claims.issuer) != (owner.identity, owner.video.room, owner.issuer):
                raise NotFound("There is no such session.")
        self._admit(session)
        return session

    def _admit(self, session: HttpSession) -> None:
        if not session.bucket.take(1.0, self.context.now()):
            self.context.counters.rate_limited += 1
            raise RateLimited("Too many requests for this session.", retry_after=session.bucket.wait(1.0))

    async def patch(self, request: web.Request) -> web.Response:
        """Trickle ICE or an ICE restart (RFC 9725 4.3.2, 4.3.3)."""
        session = self.session(request)
        fragment = parse_fragment(await self.body(request, ICE_FRAGMENT, FRAGMENT_LIMIT))
        if session.ended:  # while the body arrived
            raise NotFound("There is no such session.")
        any_session = _matches_any(request, session.etag)
        if not (any_session and fragment.ufrag):
            # The server is an ICE-lite agent, which does not use candidates; it also ignores those of an earlier ICE session.
            return web.Response(status=204)
        answer = session.restart_ice(fragment.ufrag, fragment.pwd)
        if not answer:
            return web.Response(status=204)
        return web.Response(
            body=answer.encode(),
            content_type=ICE_FRAGMENT,
            headers={hdrs.ETAG: session.etag, hdrs.CACHE_CONTROL: "no-store"},
        )

    async def _delete(self, request: web.Request) -> web.Response:
        self.session(request).leave()
        return web.Response()

    async def _get(self, request: web.Request) -> web.Response:
        self.session(request)
        return web.Response(status=204)

    # -- CORS and errors --------------------------------------------------------------------------------------------

    def _guarded(self, respond: Respond, allowed: str) -> Respond:
        async def answer(request: web.Request) -> web.Response:
            origin = request.headers.get(hdrs.ORIGIN)
            if not self._origins.accepts(origin, request.headers.get(hdrs.HOST)):
                return problem(403, "origin_refused", "This origin is not allowed to use this server.")
            response = await _answered(request, respond)
            response.headers[hdrs.VARY] = hdrs.ORIGIN
            if origin is not None:
                response.headers[hdrs.ACCESS_CONTROL_ALLOW_ORIGIN] = origin
                response.headers[hdrs.ACCESS_CONTROL_EXPOSE_HEADERS] = EXPOSED
                if request.method == hdrs.METH_OPTIONS:
                    response.headers[hdrs.ACCESS_CONTROL_ALLOW_METHODS] = allowed
                    response.headers[hdrs.ACCESS_CONTROL_ALLOW_HEADERS] = ALLOWED_HEADERS
                    response.headers[hdrs.ACCESS_CONTROL_MAX_AGE] = MAX_AGE
            return response

        return answer


def bearer(request: web.Request) -> str:
    """Raises NotAuthorized."""
    scheme, _, token = request.headers.get(hdrs.AUTHORIZATION, "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise NotAuthorized("Send an access token in the header `Authorization: Bearer`.", code="token_missing")
    if len(token) > TOKEN_LIMIT:
        raise NotAuthorized("The token is too long.", code="token_malformed")
    return token.strip()


async def _answered(request: web.Request, respond: Respond) -> web.Response:
    try:
        return await respond(request)
    except Refusal as refusal:
        return problem(refusal.status, refusal.code, refusal.message)
    except RemoteError as error:
        status = 401 if error.code.startswith("token_") else error.http_status
        return problem(status, error.code, error.message, getattr(error, "retry_after", 0.0))
    except TimeoutError:
        return problem(408, "timeout", "The request body arrived too slowly.")
    except web.HTTPRequestEntityTooLarge:
        return problem(413, "too_large", "The body is too long.")


def _matches_any(request: web.Request, etag: str) -> bool:
    """Evaluates If-Match with the strong comparison (RFC 9110 13.1.1). True: it is `*`. Raises Refusal with 428 or 412."""
    header = request.headers.get(hdrs.IF_MATCH)
    if header is None:
        raise Refusal(428, "precondition_required", "Send If-Match with the ETag of the session, or * to restart ICE.")
    if header.strip() == "*":
        return True
    if etag not in [tag.strip() for tag in header.split(",", 16)]:
        raise Refusal(412, "precondition_failed", "The ETag is not that of the current ICE session.")
    return False
