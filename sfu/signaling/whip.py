"""WHIP (RFC 9725): `POST /whip/{room}` with an offer creates a participant that publishes, e.g. OBS.

The first audio m-line is a microphone and the first video m-line a camera, or the screen's with `?source=screen`; second
ones are the other source.
"""

from typing import Final

from aiohttp import web

from sfu.auth.tokens import Claims
from sfu.errors import BadRequest, NotAuthorized
from sfu.rooms.participant import Profile
from sfu.rooms.track_description import TrackSource
from sfu.sdp.description import SDP_LIMIT, parse
from sfu.sdp.ingest_offer import IngestOffer, accept_ingest
from sfu.signaling.http_resources import SDP, HttpResources, Refusal
from sfu.signaling.http_session import Requester
from sfu.signaling.messages import Join, TrackSpec
from sfu.signaling.profile import profile_of
from sfu.signaling.whip_session import WhipSession

CAMERA: Final[dict[str, tuple[TrackSource, ...]]] = {
    "audio": ("microphone", "screen_share_audio"),
    "video": ("camera", "screen_share"),
}
SCREEN: Final[dict[str, tuple[TrackSource, ...]]] = {kind: tuple(reversed(sources)) for kind, sources in CAMERA.items()}
SOURCES: Final = {"": CAMERA, "camera": CAMERA, "screen": SCREEN}
"""Sources of the m-lines by kind, in their order, by the query parameter `source`."""


class WhipRoutes:
    def __init__(self, resources: HttpResources) -> None:
        self._resources = resources

    def routes(self) -> list[web.RouteDef]:
        resources = self._resources
        return [
            *resources.routes("/whip/{room}", {"POST": self._post, "GET": self._get}),
            *resources.session_routes("/whip/{room}/{session}"),
        ]

    async def _get(self, request: web.Request) -> web.Response:
        self._authorize(request)
        return web.Response(status=204)

    async def _post(self, request: web.Request) -> web.Response:
        resources, context = self._resources, self._resources.context
        claims, token, profile = self._authorize(request)
        address = resources.client(request)
        resources.sessions.admit(address)
        sources = SOURCES.get(request.query.get("source", ""))
        if sources is None:
            raise BadRequest("The parameter `source` must be camera or screen.")
        description = parse(await resources.body(request, SDP, SDP_LIMIT))
        try:
            offer = accept_ingest(description)
        except BadRequest as error:
            # RFC 9725 4.4.3: well-formed, but not acceptable.
            raise Refusal(422, error.code, error.message) from None
        tracks = tracks_of(offer, sources)
        for track in tracks:
            if not profile.permissions.may_publish(track.source):
                raise NotAuthorized(f"This token does not allow publishing the source {track.source}.")
        context.access.admit(claims.video.room)
        session = WhipSession(context, resources.sessions, Requester.of(claims, token, address))
        answer = session.open(profile, offer, tracks)
        return resources.created(session, answer, "whip", claims.video.room)

    def _authorize(self, request: web.Request) -> tuple[Claims, str, Profile]:
        """Raises NotAuthorized."""
        claims, token = self._resources.authenticate(request)
        if claims.video.room != request.match_info["room"]:
            raise NotAuthorized("This token does not open this room.")
        profile = profile_of(claims, Join(id=0, auto_subscribe=False))
        if not profile.permissions.publish:
            raise NotAuthorized("This token does not allow publishing.")
        return claims, token, profile


def tracks_of(offer: IngestOffer, sources: dict[str, tuple[TrackSource, ...]]) -> list[TrackSpec]:
    """Raises Refusal if the offer has more m-lines of a kind than there are sources."""
    tracks: list[TrackSpec] = []
    used = {"audio": 0, "video": 0}
    for mid, kind in offer.tracks:
        number = used[kind]
        if number >= len(sources[kind]):
            raise Refusal(422, "too_many_tracks", f"The offer has more than {len(sources[kind])} {kind} m-lines.")
        tracks.append(TrackSpec(mid=mid, source=sources[kind][number]))
        used[kind] = number + 1
    return tracks
