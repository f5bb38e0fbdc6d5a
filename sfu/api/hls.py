"""HLS live streams below `/hls/{room}/`: playback tokens, playlists with blocking reload, parts and segments.

    POST token                   exchanges an access token (Authorization) for a playback URL with its expiry time
    GET  index.m3u8              with an access token (Authorization or `?token=`): redirects to the playback URL
    GET  [~TOKEN/]index.m3u8     multivariant playlist of the current live stream, or of the last one's replay
    GET  [~TOKEN/]state          state of the live stream: waiting, live or ended
    GET  [~TOKEN/]STREAM/…       media playlists, parts and segments; playlists contain relative URLs

TOKEN is a playback token; public rooms need none. RFC 8216bis 6.2.5 (blocking reload, delta updates), 6.2.6 (preload
hints); RFC 9110, 9111. Playlists are `no-cache`, all other files are immutable.
"""

import re
import secrets
import time
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Protocol

import msgspec
from aiohttp import hdrs, web

from sfu.api import cors
from sfu.api.hls_edge import MOVED, HlsEdge
from sfu.api.hls_responses import HlsResponses
from sfu.api.long_polling import LongPoller
from sfu.api.middleware import REQUEST_COUNTERS, problem_of
from sfu.api.playback_tokens import NONCE_BYTES, PlaybackTokens
from sfu.auth.tokens import Claims, Verifier
from sfu.cluster.ports import Unavailable
from sfu.errors import AtCapacity, NotAuthorized, NotFound, RemoteError
from sfu.outputs.hls.delivery_directives import DeliveryDirectives
from sfu.outputs.hls.live_stream import LiveStream, State
from sfu.outputs.hls.rendition_stream import RenditionStream
from sfu.outputs.settings import Hls
from sfu.resources.disk_executor import DiskBusyError, DiskExecutor
from sfu.resources.media_clock import unix_time
from sfu.signaling.landing import FORWARDED_CLIENT

READERS = 4
"""Threads that read segments from disk."""
WAITING = 512
"""Maximum requests that wait for the disk; further ones get 503."""

_NAME = re.compile(
    r"(?P<stream_id>[A-Za-z0-9_-]{1,64})/(?:"
    r"(?P<stream>\d{1,4}p)(?:(?P<live>\.m3u8)|(?P<replay>\.replay\.m3u8)"
    r"|/(?P<msn>\d{1,10})(?:\.(?P<index>\d{1,3})(?:\.(?P<run>\d{1,4}))?)?\.m4s|/init(?P<init>\d{1,4})\.mp4)"
    r"|captions-(?P<language>[A-Za-z0-9-]{1,35})(?:\.m3u8|/(?P<block>\d{1,10})\.vtt)"
    r"|(?P<index_playlist>index\.m3u8))",
    re.ASCII,
)


class LiveStreamsPort(Protocol):
    """Implemented by `sfu.outputs.hls.live_streams.LiveStreams`."""

    def current(self, room: str) -> LiveStream | None: ...

    def find(self, room: str, stream_id: str) -> LiveStream | None: ...


class LiveStreamState(msgspec.Struct, frozen=True):
    """Response to `state`. Times are Unix times."""

    state: str
    "`waiting`, `live` or `ended`."
    now: float
    stream_id: str = ""
    started_at: float = 0.0
    ended_at: float = 0.0
    replay: bool = False
    "The live stream has ended, and `index.m3u8` replays all of it."
    captions: list[dict[str, str]] = []
    "Per caption track: `language`, `name`, and `uri` of its WebVTT playlist, relative to this URL."


class PlaybackTokenResponse(msgspec.Struct, frozen=True):
    url: str
    "URL path of the multivariant playlist."
    expires_at: float
    "Unix time; 0: never."


class HlsRoutes:
    """Routes of all live streams of the server, with a cache of rendered responses."""

    def __init__(
        self,
        settings: Hls,
        live_streams: LiveStreamsPort,
        verifier: Verifier,
        *playback_token_secrets: bytes,
        base_path: str = "",
        edge: HlsEdge | None = None,
    ) -> None:
        """`playback_token_secrets`: see `PlaybackTokens`. `edge`: serves the rooms of other nodes. Raises ConfigurationError
        for an invalid origin.
        """
        self._edge = edge
        self._base_path = base_path
        self._settings = settings
        self._live_streams = live_streams
        self._verifier = verifier
        self.playback_tokens = PlaybackTokens(playback_token_secrets, verifier.revocations)
        self._responses = HlsResponses(settings.origins)
        self._long_poller = LongPoller()
        self._disk = DiskExecutor("old segments", threads=READERS, jobs=WAITING)

    def routes(self) -> Iterable[web.RouteDef]:
        # Sorted by frequency of requests, highest first.
        return (
            web.get("/hls/{room}/{path:.+}", self._get),
            web.options("/hls/{room}/{path:.+}", self._preflight),
            web.post("/hls/{room}/token", self._issue_playback_token),
        )

    # Authorization.

    def _is_public(self, room: str) -> bool:
        return "*" in self._settings.public or room in self._settings.public

    def _claims(self, token: str, room: str) -> Claims:
        claims = self._verifier.verify(token, time.time())
        grants = claims.video
        if not ((grants.may_join(room) and grants.can_subscribe) or grants.may_administer(room)):
            raise NotAuthorized("This token does not grant access to this room's live stream.")
        return claims

    def _issue(self, room: str, token: str) -> tuple[str, float]:
        """A playback token and its expiry time."""
        claims = self._claims(token, room)
        expires_at = min(time.time() + self._settings.playback_token_lifetime, claims.expires_at)
        return self.playback_tokens.issue(room, claims, expires_at, secrets.token_bytes(NONCE_BYTES)), expires_at

    async def _issue_playback_token(self, request: web.Request) -> web.StreamResponse:
        return self._responses.with_origin(request, await self._guarded(request, self._playback_url))

    async def _playback_url(self, request: web.Request) -> web.StreamResponse:
        room = request.match_info["room"]
        # Includes the base path whether or not the proxy stripped it from the request.
        escaped = f"{self._base_path}{request.rel_url.raw_path.removeprefix(self._base_path).rpartition('/')[0]}"
        if self._is_public(room):
            answer = PlaybackTokenResponse(f"{escaped}/index.m3u8", 0.0)
        else:
            playback_token, expires_at = self._issue(room, _token(request))
            answer = PlaybackTokenResponse(f"{escaped}/~{playback_token}/index.m3u8", expires_at)
        return _json(answer)

    async def _preflight(self, request: web.Request) -> web.StreamResponse:
        return self._responses.with_origin(request, web.Response(status=204, headers=cors.MEDIA_PREFLIGHT))

    # Routing.

    async def _get(self, request: web.Request) -> web.StreamResponse:
        return self._responses.with_origin(request, await self._guarded(request, self._answer))

    async def _guarded(
        self, request: web.Request, answer: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        """Converts RemoteError to a response here, so that it gets CORS headers and players of other origins can read it."""
        try:
            return await answer(request)
        except RemoteError as error:
            if error.code.startswith("token_"):
                request.app[REQUEST_COUNTERS].refused_tokens[error.code] += 1
            return problem_of(error)

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        room, path = request.match_info["room"], request.match_info["path"]
        if request.get(FORWARDED_CLIENT) == "":
            return await self._local(request, room, path, "private")  # an edge, which has authorized its viewers
        if path[0] == "~":
            playback_token, _, path = path[1:].partition("/")
            self.playback_tokens.check(playback_token, room, time.time())
            cache = "private"
        elif self._is_public(room):
            cache = "public"
        else:
            token = _token(request)
            if path != "index.m3u8":
                self._claims(token, room)
                raise NotFound("With an access token, request only index.m3u8; it redirects to the playback URL.")
            playback_token, _ = self._issue(room, token)
            # `no-store`, because the URL of this request may contain the token.
            raise web.HTTPFound(f"~{playback_token}/index.m3u8", headers={"Cache-Control": "no-store"})
        if self._edge is not None and await self._edge.serves(room, is_live=self._is_live(room)):
            answer = await self._from_edge(self._edge, request, room, path, cache)
            if answer is not None:
                return answer
        return await self._local(request, room, path, cache)

    def _is_live(self, room: str) -> bool:
        live_stream = self._live_streams.current(room)
        return live_stream is not None and live_stream.state is State.LIVE

    async def _from_edge(
        self, edge: HlsEdge, request: web.Request, room: str, path: str, cache: str
    ) -> web.StreamResponse | None:
        """None: this node has the live stream itself."""
        found = _NAME.fullmatch(path)

        def served_here() -> bool:
            live_stream = self._live_streams.find(room, found["stream_id"]) if found is not None else None
            return live_stream is not None and live_stream.state is not State.WAITING

        try:
            if path == "state":
                body, age = await edge.state(room)
                state = msgspec.json.decode(body, type=LiveStreamState)
                return _json(msgspec.structs.replace(state, now=state.now + age))
            if path == "index.m3u8":
                return await edge.answer(request, room, path, self._responses, cache)
            if found is None:
                raise NotFound("The file does not exist or has expired.")
            if found["live"]:
                return await edge.live_playlist(request, room, path, self._responses, served_here)
            return await edge.answer(request, room, path, self._responses, cache)
        except (Unavailable, NotFound):
            if served_here() or (found is None and self._live_streams.current(room) is not None):
                return None
            raise

    async def _local(self, request: web.Request, room: str, path: str, cache: str) -> web.StreamResponse:
        if path == "state":
            return _json(self._state(room))
        if path == "index.m3u8":
            return self._index(request, room)
        return await self._named(request, room, path, cache)

    def _state(self, room: str) -> LiveStreamState:
        live_stream, now = self._live_streams.current(room), unix_time()
        if live_stream is None:
            return LiveStreamState("waiting", now)
        return LiveStreamState(
            live_stream.state.value,
            now,
            live_stream.stream_id,
            live_stream.started_at,
            live_stream.ended_at or 0.0,
            live_stream.replayable,
            [
                {
                    "language": one.language,
                    "name": one.name,
                    "uri": f"{live_stream.stream_id}/captions-{one.language}.m3u8",
                }
                for one in live_stream.captions.values()
            ],
        )

    def _index(self, request: web.Request, room: str) -> web.StreamResponse:
        live_stream = self._live_streams.current(room)
        if live_stream is None or live_stream.state is State.WAITING:
            raise NotFound("This room has no live stream yet.", code="no_live_stream")
        return self._responses.playlist(
            request,
            ("index", live_stream.stream_id, room),
            lambda: live_stream.multivariant(f"{live_stream.stream_id}/"),
        )

    async def _named(self, request: web.Request, room: str, path: str, cache: str) -> web.StreamResponse:
        found = _NAME.fullmatch(path)
        live_stream = self._live_streams.find(room, found["stream_id"]) if found is not None else None
        if found is None or live_stream is None:
            raise NotFound("The file does not exist or has expired.")
        if found["index_playlist"]:
            return self._responses.playlist(request, ("index", live_stream.stream_id, None), live_stream.multivariant)
        if found["language"]:
            return self._captions(request, live_stream, found["language"], found["block"], cache)
        stream = live_stream.streams.get(found["stream"])
        if stream is None:
            raise NotFound("The live stream does not have this rendition.")
        if found["live"]:
            return await self._media_playlist(request, live_stream, stream)
        if found["replay"]:
            if not live_stream.replayable:
                raise NotFound("This live stream cannot be replayed.")
            return self._responses.playlist(request, ("replay", live_stream.stream_id, stream.name), stream.replay)
        if found["init"]:
            number = int(found["init"])
            if number >= len(stream.inits) or not stream.inits[number]:
                raise NotFound("The file does not exist or has expired.")
            return self._responses.media(
                request, ("init", live_stream.stream_id, stream.name, number), stream.inits[number], cache
            )
        if found["index"]:
            place = int(found["msn"]), int(found["index"])
            return await self._part(request, live_stream, stream, place, int(found["run"] or 0), cache)
        return await self._segment(request, live_stream, stream, int(found["msn"]), cache)

    async def _media_playlist(
        self, request: web.Request, live_stream: LiveStream, stream: RenditionStream
    ) -> web.StreamResponse:
        asked = DeliveryDirectives.parse(request.query)
        if live_stream.state is State.WAITING:
            raise NotFound("This room has no live stream yet.", code="no_live_stream")
        if asked.msn is not None:
            if not stream.ended:
                asked.check(stream.last[0])
            msn, part = asked.msn, asked.part
            if not await self._long_poller.wait_until(stream, lambda: stream.has(msn, part)):
                raise AtCapacity("The live stream has stalled.", code="stalled")
        if live_stream.moved:
            raise Unavailable("The live stream moves to another node. Try again.", code=MOVED)
        key = ("live", live_stream.stream_id, stream.name, stream.version, asked.skip)
        return self._responses.playlist(request, key, lambda: live_stream.media(stream.name, skip=asked.skip))

    async def _part(
        self,
        request: web.Request,
        live_stream: LiveStream,
        stream: RenditionStream,
        place: tuple[int, int],
        init: int,
        cache: str,
    ) -> web.StreamResponse:
        key = ("part", live_stream.stream_id, stream.name, place, init)
        if key in self._responses:
            return self._responses.media(request, key, b"", cache)
        if stream.last < place <= stream.next:
            # A preload hint: the part does not exist yet (6.2.6).
            await self._long_poller.wait_until(stream, lambda: stream.last >= place or stream.ended)
            if key in self._responses:
                return self._responses.media(request, key, b"", cache)
        data = stream.part(*place, init)
        if data is None:
            raise NotFound("The part does not exist or has expired.")
        return self._responses.media(request, key, data, cache)

    async def _segment(
        self, request: web.Request, live_stream: LiveStream, stream: RenditionStream, msn: int, cache: str
    ) -> web.StreamResponse:
        data = stream.segment(msn)
        if isinstance(data, str):
            path = live_stream.storage.path(data)
            if path is not None:
                return await self._stored(request, path, cache)
            data = None
        if data is None:
            raise NotFound("The segment does not exist or has expired.")
        return self._responses.media(request, ("segment", live_stream.stream_id, stream.name, msn), data, cache)

    async def _stored(self, request: web.Request, path: Path, cache: str) -> web.StreamResponse:
        """Reads a file of the storage in another thread, because the disk may block."""
        try:
            data = await self._disk.run(path.read_bytes)
        except DiskBusyError:
            raise AtCapacity("The server's disk is overloaded. Try again later.") from None
        except OSError:
            raise NotFound("The segment does not exist or has expired.") from None
        return self._responses.media(request, None, data, cache)

    def _captions(
        self, request: web.Request, live_stream: LiveStream, language: str, block: str | None, cache: str
    ) -> web.StreamResponse:
        track = live_stream.captions.get(language)
        if track is None:
            raise NotFound("The live stream does not have captions in this language.")
        if block is None:
            return self._responses.playlist(
                request,
                ("captions list", live_stream.stream_id, language),
                lambda: live_stream.captions_playlist(language),
            )
        data = track.segment(int(block))
        if data is None:
            raise NotFound("The segment does not exist or has expired.")
        key = ("captions", live_stream.stream_id, language, block)
        return self._responses.captions(request, key, data, cache)


def _token(request: web.Request) -> str:
    scheme, _, token = request.headers.get(hdrs.AUTHORIZATION, "").partition(" ")
    found = token.strip() if scheme.lower() == "bearer" else request.query.get("token", "")
    if not found:
        raise NotAuthorized("A token is required to watch this room.", code="token_missing")
    return found


def _json(answer: msgspec.Struct) -> web.Response:
    body = msgspec.json.encode(answer)
    return web.Response(body=body, content_type="application/json", headers={"Cache-Control": "no-store"})
