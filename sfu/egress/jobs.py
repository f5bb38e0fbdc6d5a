"""All programmes of a server: one per room at most, started and stopped by those who may, within the operator's caps."""

import asyncio
import logging
import secrets
import time
from collections import Counter
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from sfu.egress.job import Production, Wanted
from sfu.egress.protocol import Destination
from sfu.egress.recordings import Kept, Recording, finalise, kept
from sfu.egress.settings import Settings
from sfu.egress.track_egress import TrackKeeping
from sfu.errors import AtCapacity, BadRequest, Conflict, NotFound
from sfu.mixer.scene import parse_template
from sfu.outputs.hls.programmes import Programmes
from sfu.outputs.hls.window import Window
from sfu.outputs.names import safe_name, unused
from sfu.outputs.settings import Rendition
from sfu.outputs.settings import Settings as EgressSettings
from sfu.resources.media_clock import unix_time
from sfu.rooms.programme import LayoutName, Programme
from sfu.rooms.room import Room
from sfu.telemetry.join_trace import Tracer
from sfu.transport.plain_transport import Feed
from sfu.transport.webrtc_server import Hub

if TYPE_CHECKING:
    from collections.abc import Sequence

log = logging.getLogger(__name__)

SWEEP = 10.0
"""Seconds between looks at ended programmes."""
RECORDING_STATES = ("recording", "interrupted")
ROOM_BYTES = 100
"""Of a room's name in the name of a recording's directory; the API takes names of 128 characters."""


class Productions:
    """Fulfils signalling's Programmes port and the API's ProductionsPort."""

    def __init__(
        self,
        settings: Settings,
        egress: EgressSettings,
        hub: Hub,
        tracer: Tracer | None = None,
        admit: Callable[[], None] = lambda: None,
    ) -> None:
        """`admit` raises AtCapacity if the machine has no memory for another worker."""
        self.settings = settings
        self._admit = admit
        self._tracer = tracer
        self.programmes = Programmes(egress.hls)
        self._ladder = egress.ladder
        self._hub = hub
        self._by_room: dict[str, Production] = {}
        self._keeping: dict[str, TrackKeeping] = {}
        self._finishing: set[asyncio.Task[None]] = set()
        self.started = 0
        """In total."""
        self.restarts = 0
        """Of workers of productions that are over."""

    def __len__(self) -> int:
        return len(self._by_room)

    def list(self) -> "Sequence[Production]":
        return list(self._by_room.values())

    def find(self, room: str) -> Production:
        """Raises NotFound."""
        found = self._by_room.get(room)
        if found is None:
            raise NotFound("This room has no programme now.")
        return found

    def change(
        self,
        room: Room,
        *,
        live: bool | None = None,
        recording: bool | None = None,
        as_track: bool | None = None,
        layout: LayoutName | None = None,
        focus: str | None = None,
        scene: str | None = None,
        renditions: "Sequence[str] | None" = None,
    ) -> Production | None:
        """None: stays. Starts what is not there, and ends what nothing wants any more (then None is returned).

        `renditions`: names, of the settings', for a programme that starts. Raises AtCapacity, BadRequest, NotFound.
        """
        production = self._by_room.get(room.name)
        before = production.wanted if production is not None else Wanted()
        if scene is not None:
            _check_scene(scene)
        wanted = Wanted(
            live=before.live if live is None else live,
            recording=before.recording if recording is None else recording,
            as_track=before.as_track if as_track is None else as_track,
            layout=before.layout if layout is None else layout,
            focus=before.focus if focus is None else focus,
            scene=(before.scene if layout is None else "") if scene is None else scene,
            destinations=before.destinations,
        )
        return self._apply(room, production, wanted, renditions)

    def push(self, room: Room, url: str) -> Destination:
        """Another RTMP destination. Raises BadRequest, AtCapacity."""
        production = self._by_room.get(room.name)
        before = production.wanted if production is not None else Wanted()
        if len(before.destinations) >= self.settings.destinations:
            raise AtCapacity(f"A programme is pushed to at most {self.settings.destinations} destinations.")
        if not url.startswith(("rtmp://", "rtmps://")):
            raise BadRequest("A destination's address begins with rtmp:// or rtmps://.")
        destination = Destination(id=f"DE_{secrets.token_urlsafe(6)}", url=url)
        self._apply(room, production, replace(before, destinations=(*before.destinations, destination)), None)
        return destination

    def unpush(self, room: Room, destination: str) -> None:
        """Raises NotFound."""
        production = self.find(room.name)
        left = tuple(one for one in production.wanted.destinations if one.id != destination)
        if len(left) == len(production.wanted.destinations):
            raise NotFound("The programme is not pushed there.")
        self._apply(room, production, replace(production.wanted, destinations=left), None)

    def stop(self, room: str) -> None:
        """Everything of it. Raises NotFound."""
        production = self.find(room)
        production.change(Wanted(layout=production.wanted.layout))

    def keep_tracks(self, room: Room) -> TrackKeeping:
        """Records everybody's tracks as they come. Raises Conflict, AtCapacity, RemoteError."""
        if room.name in self._keeping:
            raise Conflict("This room's tracks are being recorded already.")
        if len(self._keeping) >= self.settings.max_productions:
            raise AtCapacity("This server has no place for another recording.")
        feed = Feed(self._hub, "tracks")
        try:
            keeping = TrackKeeping(room, feed, self.settings, self._directory(room.name), self._kept)
        except BaseException:
            feed.close()
            raise
        self._keeping[room.name] = keeping
        self._finishing.add(keeping.task)
        keeping.task.add_done_callback(self._finished)
        self.show(room)
        return keeping

    def release_tracks(self, room: str) -> None:
        """Ends that. Raises NotFound."""
        if room not in self._keeping:
            raise NotFound("This room's tracks are not being recorded.")
        self._keeping[room].close()

    def _kept(self, keeping: TrackKeeping) -> None:
        if self._keeping.get(keeping.room.name) is keeping:
            del self._keeping[keeping.room.name]
        self.show(keeping.room)

    def being_recorded(self) -> Counter[str]:
        """How many recordings are being made, by `RECORDING_STATES`."""
        programmes = [one.recording.problem for one in self.list() if one.recording is not None]
        tracks = [one.problem for one in self._keeping.values()]
        return Counter(RECORDING_STATES[bool(problem)] for problem in (*programmes, *tracks))

    def recordings(self, room: str) -> "Sequence[Kept]":
        """Newest first. Reads the disk: for another thread than the loop's."""
        return kept(Path(self.settings.directory), room)

    async def run(self) -> None:
        """Forgets programmes that ended too long ago, until cancelled."""
        for programme in self.programmes.restore(await asyncio.to_thread(self.programmes.find_stored), unix_time()):
            programme.window.end(unix_time())
        for recording in await asyncio.to_thread(kept, Path(self.settings.directory)):
            if recording.recording:  # a crash of the server ended it
                self._finish(finalise(recording.directory, self.settings.s3))
        while True:
            await asyncio.sleep(SWEEP)
            try:
                self.programmes.expire(unix_time())
            except Exception:
                log.exception("programmes' timer failed")

    async def close(self) -> None:
        """Ends every programme in good order."""
        productions = self.list()
        for production in productions:
            production.close()
        for keeping in self._keeping.values():
            keeping.close()
        with suppress(TimeoutError):
            async with asyncio.timeout(10):
                for production in productions:
                    await production.wait_closed()
                if self._finishing:
                    await asyncio.wait(self._finishing)
        await asyncio.to_thread(self.programmes.close)

    # -- Shelf ------------------------------------------------------------------------------------------------------

    def open_window(self, room: str, renditions: tuple[Rendition, ...]) -> Window:
        return self.programmes.open(room, f"P{secrets.token_hex(8)}", renditions)

    def open_recording(self, room: str, programme: str) -> Recording:
        return Recording(self._directory(room), room, programme)

    def _directory(self, room: str) -> Path:
        stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
        name = safe_name(room, ROOM_BYTES, fallback="room")
        return unused(Path(self.settings.directory), f"{name}-{stamp}-{secrets.token_hex(3)}")

    def show(self, room: Room) -> None:
        production = self._by_room.get(room.name)
        self._show(room, production.programme if production is not None else Programme())

    def _show(self, room: Room, programme: Programme) -> None:
        keeping = self._keeping.get(room.name)
        if keeping is not None:
            since = programme.since or round(keeping.started_at, 3)
            problem = programme.problem or keeping.problem
            programme = replace(programme, recording=True, since=since, problem=problem)
        room.show(programme)

    def keep(self, recording: Recording) -> None:
        self._finish(recording.finish(self.settings.s3))

    def _finish(self, finishing: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(finishing)
        self._finishing.add(task)
        task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._finishing.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("recording not finished", exc_info=error)

    # ---------------------------------------------------------------------------------------------------------------

    def _apply(
        self, room: Room, production: Production | None, wanted: Wanted, renditions: "Sequence[str] | None"
    ) -> Production | None:
        if production is not None and production.closing:
            raise Conflict("The room's last programme is just ending; try again in a moment.")
        if production is None:
            if not wanted.anything:
                raise NotFound("This room has no programme now.")
            production = self._start(room, renditions)
        try:
            production.change(wanted)
        except BaseException:
            if not production.wanted.anything:
                production.close()
            raise
        return self._by_room.get(room.name)

    def _start(self, room: Room, renditions: "Sequence[str] | None") -> Production:
        if len(self._by_room) >= self.settings.max_productions:
            raise AtCapacity("This server has no place for another programme.")
        self._admit()
        ladder = self._ladder
        if renditions is not None:
            ladder = tuple(one for one in ladder if one.name in renditions)
            if not ladder or len(ladder) != len(set(renditions)):
                names = ", ".join(one.name for one in self._ladder)
                raise BadRequest(f"This server's renditions are {names}.")
        feed = Feed(self._hub, "programme")
        try:
            production = Production(room, feed, self.settings, ladder, self, self._over, self._tracer)
        except BaseException:
            feed.close()
            raise
        self._by_room[room.name] = production
        self.started += 1
        log.info("production started", extra={"production": production.id, "room_id": room.id})
        return production

    def _over(self, production: Production) -> None:
        if self._by_room.get(production.room.name) is production:
            del self._by_room[production.room.name]
        self.restarts += production.restarts
        self._show(production.room, Programme(problem=production.problem))
        log.info("production ended", extra={"production": production.id, "restarts": production.restarts})


def _check_scene(scene: str) -> None:
    """The worker reads it once more; here so that a mistake is told to whoever made it. Raises BadRequest."""
    if scene:
        parse_template(scene)
