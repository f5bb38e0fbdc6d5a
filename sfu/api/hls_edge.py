"""An HLS edge: serves the live streams of rooms whose home is another node, the origin, from a cache.

Equal requests of viewers become one request to the origin, a blocking reload among them; so each playlist version and each
part is fetched once, and only while there are viewers. When the origin is gone, viewers get what the cache holds until the
room's new home continues the live stream. RFC 8216bis 6.2.5.2 (blocking reload), 6.2.6 (preload hints).
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import Final
from urllib.parse import quote

import aiohttp
import msgspec
from aiohttp import web

from sfu.api.edge_cache import CachedFile, EdgeCache, Key
from sfu.api.forwarding import ATTEMPTS, NOT_HOME, NodeRequests
from sfu.api.hls_responses import HlsResponses
from sfu.api.schemas import Problem
from sfu.cluster.ports import NodeInfo, Placement, Unavailable, Unreachable
from sfu.errors import AtCapacity, BadRequest, NotAuthorized, NotFound, RemoteError
from sfu.outputs.hls.delivery_directives import LONGEST_HOLD, DeliveryDirectives
from sfu.outputs.segmenter import PART_DURATION

PLAYLIST_AGE: Final = PART_DURATION
"""Seconds for which a playlist without delivery directives is served from the cache."""
RELOAD_AGE: Final = 1.0
"""The same for a reload that asks for an old part, for the multivariant playlist and for the state."""
STALE_AGE: Final = 60.0
"""Seconds for which playlists are served while the room has no origin."""
RETRY: Final = 0.2
"""Seconds between two searches for the origin."""
FETCH_TIMEOUT: Final = LONGEST_HOLD + 2.0
FILE_LIMIT_BYTES: Final = 16 << 20
"""Largest file of a live stream."""
FETCHES: Final = 1_024
"""Requests to origins at the same time. Beyond it, viewers get 503."""
ROOM_FETCHES: Final = 128
"""The same for one room."""
MOVED: Final = "moved"
"""Code of the response of a node that has given the live stream up."""
SWEEP_INTERVAL: Final = 10.0

_ERRORS: Final[dict[int, type[RemoteError]]] = {400: BadRequest, 403: NotAuthorized, 404: NotFound}


class HlsEdge:
    """Create it in the event loop. `close` it at the end."""

    def __init__(self, placement: Placement, nodes: NodeRequests, cache: EdgeCache | None = None) -> None:
        self._placement = placement
        self._nodes = nodes
        self._cache = cache or EdgeCache()
        self._fetches: dict[tuple[object, ...], asyncio.Task[CachedFile]] = {}
        self._sweep: asyncio.TimerHandle | None = None
        self._rooms: Counter[str] = Counter()
        "Number of running fetches."
        self._number = 0

    def close(self) -> None:
        if self._sweep is not None:
            self._sweep.cancel()
        for task in self._fetches.values():
            task.cancel()

    async def serves(self, room: str, *, is_live: bool) -> bool:
        """Whether another node is the origin of the room's live streams, or was until now. `is_live`: this node has the
        room's live stream."""
        try:
            origin = await self._placement.find_home(room, create=False)
        except Unavailable:
            origin = None
        return origin is not None or (room in self._cache and not is_live)

    async def state(self, room: str) -> tuple[bytes, float]:
        """The state of the live stream at the origin, and its age in seconds."""
        file = await self._document(room, "state")
        return file.body, time.monotonic() - file.fetched_at

    async def answer(
        self, request: web.Request, room: str, path: str, responses: HlsResponses, cache: str
    ) -> web.StreamResponse:
        """A file that is not a live playlist. `path`: below the room, without a playback token. Raises RemoteError."""
        if path.endswith(".m3u8"):
            file = await self._document(room, path)
            return responses.playlist(request, ("edge", room, path, file.number), lambda: file.body)
        key = ("edge", room, path)
        data = b"" if key in responses else await self._media(room, path)
        if path.endswith(".vtt"):
            return responses.captions(request, key, data, cache)
        return responses.media(request, key, data, cache)

    async def live_playlist(
        self, request: web.Request, room: str, path: str, responses: HlsResponses, served_here: Callable[[], bool]
    ) -> web.StreamResponse | None:
        """None: this node has become the origin. `served_here`: whether this node has the live stream. Raises RemoteError."""
        asked = DeliveryDirectives.parse(request.query)
        file = await self._reload(room, path, asked, served_here)
        if file is None:
            return None
        return responses.playlist(request, ("edge", room, path, asked.skip, file.number), lambda: file.body)

    # -- playlists -----------------------------------------------------------------------------------------------------

    async def _reload(
        self, room: str, path: str, asked: DeliveryDirectives, served_here: Callable[[], bool]
    ) -> CachedFile | None:
        key = (path, asked.skip)
        deadline = time.monotonic() + LONGEST_HOLD
        while True:
            now = time.monotonic()
            held = self._cache.get(room, key, now)
            age = PLAYLIST_AGE if asked.msn is None else RELOAD_AGE
            if held is not None and now - held.fetched_at < age and held.answers(asked):
                return held
            try:
                return await self._shared(room, key, _query(asked))
            except (Unavailable, NotFound) as error:
                if served_here():
                    return None
                if held is None or now - held.fetched_at > STALE_AGE or _is_final(error):
                    raise
                if held.answers(asked):
                    return held
                if now >= deadline - RETRY:
                    raise AtCapacity("The live stream has stalled.", code="stalled") from None
            await asyncio.sleep(RETRY)

    async def _document(self, room: str, path: str) -> CachedFile:
        """A file that changes slowly."""
        now = time.monotonic()
        held = self._cache.get(room, (path, False), now)
        if held is not None and now - held.fetched_at < RELOAD_AGE:
            return held
        try:
            return await self._shared(room, (path, False), "")
        except (Unavailable, NotFound) as error:
            if held is None or now - held.fetched_at > STALE_AGE or _is_final(error):
                raise
            return held

    # -- media ---------------------------------------------------------------------------------------------------------

    async def _media(self, room: str, path: str) -> bytes:
        held = self._cache.get(room, (path, False), time.monotonic())
        if held is None:
            joined = self._from_parts(room, path)
            if joined is not None:
                return joined
            held = await self._shared(room, (path, False), "")
        return held.body

    def _from_parts(self, room: str, path: str) -> bytes | None:
        """A segment whose parts are in the cache."""
        stream_id, _, name = path.partition("/")
        now, rendition = time.monotonic(), name.partition("/")[0]
        for skip in (True, False):
            listing = self._cache.get(room, (f"{stream_id}/{rendition}.m3u8", skip), now)
            uris = listing.parts_of(name) if listing is not None else []
            parts = [self._cache.get(room, (f"{stream_id}/{uri}", False), now) for uri in uris]
            if parts and all(parts):
                return b"".join(part.body for part in parts if part is not None)
        return None

    # -- origin --------------------------------------------------------------------------------------------------------

    async def _shared(self, room: str, key: Key, query: str) -> CachedFile:
        """Fetches a file once for all viewers that ask for it meanwhile."""
        fetch = (room, key, query)
        task = self._fetches.get(fetch)
        if task is None:
            if len(self._fetches) >= FETCHES or self._rooms[room] >= ROOM_FETCHES:
                raise AtCapacity("This server fetches too many files of live streams. Try again later.")
            # It goes on when the first viewer leaves.
            task = self._fetches[fetch] = asyncio.create_task(self._fetch(room, key, query))
            self._rooms[room] += 1
            task.add_done_callback(lambda done: self._fetched(fetch, room, done))
        return await asyncio.shield(task)

    def _fetched(self, fetch: tuple[object, ...], room: str, task: asyncio.Task[CachedFile]) -> None:
        del self._fetches[fetch]
        self._rooms[room] -= 1
        if not self._rooms[room]:
            del self._rooms[room]
        if not task.cancelled():
            task.exception()  # the viewers may have left

    async def _fetch(self, room: str, key: Key, query: str) -> CachedFile:
        path, _ = key
        origin, body = await self._from_origin(room, f"/hls/{quote(room, safe='')}/{path}{query}")
        now = time.monotonic()
        self._number += 1
        make = CachedFile.playlist if path.endswith(".m3u8") else CachedFile
        file = make(body, now, self._number)
        self._cache.put(room, key, file, origin)
        if self._sweep is None:
            self._sweep = asyncio.get_running_loop().call_later(SWEEP_INTERVAL, self._expire)
        return file

    async def _from_origin(self, room: str, target: str) -> tuple[NodeInfo, bytes]:
        """The node that answered, and the body. Raises Unavailable, and the RemoteError of the origin."""
        for attempt in range(ATTEMPTS):
            # The last home of a room that has ended has the replay.
            node = await self._placement.find_home(room, create=False) or self._cache.origin_of(room)
            if node is None:
                break
            try:
                return node, await self._get(node, target)
            except Unavailable:
                self._placement.forget_home(room, node)
                if attempt == ATTEMPTS - 1:
                    raise
        raise Unavailable("The node of this live stream is gone. Try again.")

    async def _get(self, node: NodeInfo, target: str) -> bytes:
        try:
            response = await self._nodes.request(
                node, "GET", target, headers={"Accept-Encoding": "identity"}, client="", timeout=FETCH_TIMEOUT
            )
            async with response:
                if NOT_HOME in response.headers:
                    raise Unreachable("The live stream moves to another node. Try again.")
                if (response.content_length or 0) > FILE_LIMIT_BYTES:
                    raise AtCapacity("The file is too large.")
                body = await response.read()
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise Unavailable("The node of this live stream does not answer. Try again.") from error
        if response.status == 200:
            return body
        code, message = "error", "The node of this live stream answered with an error."
        with suppress(msgspec.DecodeError):
            problem = msgspec.json.decode(body, type=Problem)
            code, message = problem.code, problem.message
        if code == MOVED:
            raise Unreachable(message)
        raise _ERRORS.get(response.status, AtCapacity)(message, code=code)

    def _expire(self) -> None:
        self._cache.expire(time.monotonic())
        self._sweep = asyncio.get_running_loop().call_later(SWEEP_INTERVAL, self._expire) if len(self._cache) else None


def _is_final(error: RemoteError) -> bool:
    """A new home has no live stream until its first part."""
    return isinstance(error, NotFound) and error.code != "no_live_stream"


def _query(asked: DeliveryDirectives) -> str:
    fields = []
    if asked.msn is not None:
        fields.append(f"_HLS_msn={asked.msn}")
    if asked.part is not None:
        fields.append(f"_HLS_part={asked.part}")
    if asked.skip:
        fields.append("_HLS_skip=YES")
    return f"?{'&'.join(fields)}" if fields else ""
