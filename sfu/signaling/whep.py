"""WHEP (draft-ietf-wish-whep): a player watches a participant, one of its tracks, or the mix of the room.

POST /whep/{room}                       the mix, which an egress with `track` publishes
POST /whep/{room}/{identity}            camera and microphone of a participant
POST /whep/{room}/{identity}/{source}   one track
PATCH, DELETE /whep-session/{session}   the session
POST /whep-session/{session}/sse        server-sent events: active, inactive, layers, viewercount
POST /whep-session/{session}/layer      selects a layer of the video
"""

import hmac
from http import HTTPStatus
from typing import Annotated, Final, TypeVar

import msgspec
from aiohttp import hdrs, web
from msgspec import Meta, Struct

from sfu.auth.tokens import Claims
from sfu.errors import BadRequest, NotAuthorized, NotFound
from sfu.rooms.ports import SubscriptionSettings
from sfu.sdp.description import SDP_LIMIT, parse
from sfu.sdp.receive_offer import accept_receive_offer
from sfu.signaling.http_resources import SDP, HttpResources, Refusal
from sfu.signaling.http_session import Requester
from sfu.signaling.messages import Join
from sfu.signaling.profile import profile_of
from sfu.signaling.whep_resource import WhepResource, wanted
from sfu.signaling.whep_session import EVENTS, WhepSession
from sfu.signaling.whep_viewers import WhepViewers

EXTENSION: Final = "urn:ietf:params:whep:ext:core:"
JSON: Final = "application/json"
JSON_LIMIT: Final = 1_024
"""Bytes of a request for events or a layer."""
SESSION_PATH: Final = "whep-session"

Size = Annotated[int, Meta(ge=0, le=16_384)]
T = TypeVar("T")


class SelectLayer(Struct, forbid_unknown_fields=False, rename="camel"):
    """Without fields: the best layer that the path carries."""

    media_id: str = ""
    "The m-line; empty: the video."
    encoding_id: str = ""
    "A simulcast layer."
    max_width: Size = 0
    max_height: Size = 0


class WhepRoutes:
    def __init__(self, resources: HttpResources, viewers: WhepViewers) -> None:
        self._resources = resources
        self._viewers = viewers

    def routes(self) -> list[web.RouteDef]:
        resources = self._resources
        endpoint = {"POST": self._post, "GET": self._get}
        session = f"/{SESSION_PATH}/{{session}}"
        return [
            *resources.routes("/whep/{room}", endpoint),
            *resources.routes("/whep/{room}/{identity}", endpoint),
            *resources.routes("/whep/{room}/{identity}/{source}", endpoint),
            *resources.session_routes(session, self._patch),
            *resources.routes(f"{session}/layer", {"POST": self._select_layer}, accepts=JSON),
            *resources.routes(f"{session}/sse", {"POST": self._open_events}, accepts=JSON),
            *resources.routes(f"{session}/sse/{{events}}", {"GET": self._send_events, "DELETE": self._close_events}),
        ]

    async def _get(self, request: web.Request) -> web.Response:
        self._authorize(request)
        return web.Response(content_type=SDP, headers={hdrs.CACHE_CONTROL: "no-store"})

    async def _post(self, request: web.Request) -> web.Response:
        resources, context = self._resources, self._resources.context
        claims, token, resource = self._authorize(request)
        address = resources.client(request)
        resources.sessions.admit(address)
        description = parse(await resources.body(request, SDP, SDP_LIMIT))
        try:
            offer = accept_receive_offer(description)
            if not wanted(offer.offer):
                raise BadRequest("The offer receives neither audio nor video.", code="no_media")
        except BadRequest as error:
            raise Refusal(422, error.code, error.message) from None
        context.access.admit(claims.video.room)
        requester = Requester.of(claims, token, address)
        session = WhepSession(context, resources.sessions, requester, self._viewers, resource)
        sdp = session.open(offer)
        response = resources.created(session, sdp, SESSION_PATH)
        if session.awaits_answer:
            response.set_status(HTTPStatus.NOT_ACCEPTABLE)
        url = response.headers[hdrs.LOCATION]
        names = ",".join(EVENTS)
        response.headers.add(hdrs.LINK, f'<{url}/sse>; rel="{EXTENSION}server-sent-events"; events="{names}"')
        response.headers.add(hdrs.LINK, f'<{url}/layer>; rel="{EXTENSION}layer"')
        return response

    def _authorize(self, request: web.Request) -> tuple[Claims, str, WhepResource]:
        """Raises NotAuthorized or NotFound."""
        claims, token = self._resources.authenticate(request)
        parts = request.match_info
        if claims.video.room != parts["room"]:
            raise NotAuthorized("This token does not open this room.")
        if not profile_of(claims, Join(id=0)).permissions.subscribe:
            raise NotAuthorized("This token does not allow subscribing.")
        resource = WhepResource(parts["room"], parts.get("identity", ""), parts.get("source", ""))
        resource.sources  # noqa: B018  # raises NotFound
        return claims, token, resource

    # -- the session ------------------------------------------------------------------------------------------------

    async def _patch(self, request: web.Request) -> web.Response:
        """The answer to our offer, trickle ICE or an ICE restart."""
        if request.content_type != SDP:
            return await self._resources.patch(request)
        session = self._session(request)
        session.accept_answer(await self._resources.body(request, SDP, SDP_LIMIT))
        return web.Response(status=204, headers={hdrs.ETAG: session.etag})

    async def _select_layer(self, request: web.Request) -> web.Response:
        session = self._session(request)
        body = await self._json(request, SelectLayer)
        if body.encoding_id:
            settings = session.layer(body.encoding_id)
        else:
            settings = SubscriptionSettings(width=body.max_width, height=body.max_height)
        session.select_layer(body.media_id, settings)
        return web.Response()

    # -- server-sent events -----------------------------------------------------------------------------------------

    async def _open_events(self, request: web.Request) -> web.Response:
        session = self._session(request)
        types = await self._json(request, list[str])
        unknown = set(types) - set(EVENTS)
        if unknown or not types:
            raise BadRequest(f"Send a list with some of {', '.join(EVENTS)}.")
        if session.ended:
            raise NotFound("There is no such session.")
        session.open_events(types)
        return web.Response(
            status=201, headers={hdrs.LOCATION: f"{request.path}/{session.events_key}", hdrs.CACHE_CONTROL: "no-store"}
        )

    async def _send_events(self, request: web.Request) -> web.Response:
        """Needs no token, because EventSource cannot send one: the URL is secret."""
        session = self._resources.sessions.find(request.match_info["session"])
        if not isinstance(session, WhepSession) or session.events is None or not _is_secret(request, session):
            raise NotFound("There is no such event stream.")
        session.send_state()
        return web.Response(
            body=session.events.chunks(),
            content_type="text/event-stream",
            headers={hdrs.CACHE_CONTROL: "no-store", "X-Accel-Buffering": "no"},
        )

    async def _close_events(self, request: web.Request) -> web.Response:
        session = self._session(request)
        if session.events is None or not _is_secret(request, session):
            raise NotFound("There is no such event stream.")
        session.close_events()
        return web.Response()

    def _session(self, request: web.Request) -> WhepSession:
        """Raises NotFound or NotAuthorized."""
        session = self._resources.session(request)
        if not isinstance(session, WhepSession):
            raise NotFound("There is no such session.")
        return session

    async def _json(self, request: web.Request, shape: type[T]) -> T:
        text = await self._resources.body(request, JSON, JSON_LIMIT)
        try:
            return msgspec.json.decode(text, type=shape)
        except msgspec.MsgspecError as error:
            raise BadRequest(f"{error}.") from None


def _is_secret(request: web.Request, session: WhepSession) -> bool:
    return hmac.compare_digest(request.match_info["events"].encode(), session.events_key.encode())
