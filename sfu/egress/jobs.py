"""All egress jobs of a server: at most one per room, within the operator's limits."""

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

import msgspec

from sfu.egress.job import EgressJob, EgressSpec
from sfu.egress.protocol import Destination
from sfu.egress.recordings import Recording, StoredRecording, finalize, list_recordings
from sfu.egress.reports import EgressObserver, EgressReports, finished_recording
from sfu.egress.settings import Settings
from sfu.egress.track_egress import TrackEgress
from sfu.errors import AtCapacity, BadRequest, Conflict, NotFound, RemoteError
from sfu.mixer.scene import parse_template
from sfu.outputs.file_names import safe_name, unused_path
from sfu.outputs.hls.live_stream import LiveStream, StreamPosition
from sfu.outputs.hls.live_streams import LiveStreams
from sfu.outputs.settings import Rendition
from sfu.outputs.settings import Settings as OutputsSettings
from sfu.resources.media_clock import unix_time
from sfu.rooms.egress_status import EgressStatus, LayoutName
from sfu.rooms.room import Room
from sfu.telemetry.join_trace import Tracer
from sfu.transport.plain_transport import PlainTransport
from sfu.transport.webrtc_server import WebRtcServer

if TYPE_CHECKING:
    from collections.abc import Sequence

log = logging.getLogger(__name__)

CLEANUP_INTERVAL = 10.0
"""Seconds between two searches for expired live streams."""
RECORDING_STATES = ("recording", "interrupted")
MAX_ROOM_NAME_BYTES = 100
"""Maximum length, in bytes, of the room name in a recording's directory name; the API accepts names of 128 characters."""


class WantedEgress(msgspec.Struct, frozen=True, kw_only=True):
    """The egress of a room in its snapshot, which is sealed: destinations contain stream keys."""

    spec: EgressSpec = EgressSpec()
    renditions: list[str] | None = None
    position: StreamPosition | None = None
    tracks: bool = False


class EgressJobs:
    """Starts, changes and stops egress jobs. Implements the egress ports of signaling and the API, and OutputStore."""

    def __init__(
        self,
        settings: Settings,
        outputs: OutputsSettings,
        webrtc_server: WebRtcServer,
        tracer: Tracer | None = None,
        admit: Callable[[], None] = lambda: None,
        observer: EgressObserver | None = None,
    ) -> None:
        """`admit` raises AtCapacity if the machine has too little memory for another worker."""
        self.settings = settings
        self._admit = admit
        self._reports = EgressReports(observer)
        self._tracer = tracer
        self.live_streams = LiveStreams(outputs.hls)
        self._ladder = outputs.ladder
        self._webrtc_server = webrtc_server
        self._by_room: dict[str, EgressJob] = {}
        self._track_egresses: dict[str, TrackEgress] = {}
        self._finishing: set[asyncio.Task[None]] = set()
        self.changed: Callable[[str], None] = lambda room: None
        """Called with a room whose `snapshot` would differ."""
        self.started = 0
        """Number of jobs started."""
        self.restarts = 0
        """Worker restarts in ended jobs."""

    def __len__(self) -> int:
        return len(self._by_room)

    def list(self) -> "Sequence[EgressJob]":
        return list(self._by_room.values())

    def find(self, room: str) -> EgressJob:
        """Raises NotFound."""
        found = self._by_room.get(room)
        if found is None:
            raise NotFound("This room has no active egress.")
        return found

    def mix_of(self, room: str) -> str:
        """Id of the participant that publishes the mix into the room; empty: none."""
        job = self._by_room.get(room)
        return job.output_participant if job is not None else ""

    def change(
        self,
        room: Room,
        *,
        live: bool | None = None,
        recording: bool | None = None,
        publish_to_room: bool | None = None,
        layout: LayoutName | None = None,
        focus: str | None = None,
        scene: str | None = None,
        renditions: "Sequence[str] | None" = None,
    ) -> EgressJob | None:
        """Changes the room's egress; starts a job if there is none. Parameters that are None stay unchanged.

        `renditions`: names from the settings, for a job that starts. Returns None if the job ends, because it has no
        outputs left. Raises AtCapacity, BadRequest, NotFound.
        """
        job = self._by_room.get(room.name)
        before = job.spec if job is not None else EgressSpec()
        if scene is not None:
            _check_scene(scene)
        spec = EgressSpec(
            live=before.live if live is None else live,
            recording=before.recording if recording is None else recording,
            publish_to_room=before.publish_to_room if publish_to_room is None else publish_to_room,
            layout=before.layout if layout is None else layout,
            focus=before.focus if focus is None else focus,
            scene=(before.scene if layout is None else "") if scene is None else scene,
            destinations=before.destinations,
        )
        return self._apply(room, job, spec, renditions)

    def add_destination(self, room: Room, url: str) -> Destination:
        """Adds an RTMP destination. Raises BadRequest, AtCapacity."""
        job = self._by_room.get(room.name)
        before = job.spec if job is not None else EgressSpec()
        if len(before.destinations) >= self.settings.max_destinations:
            raise AtCapacity(f"An egress has at most {self.settings.max_destinations} destinations.")
        if not url.startswith(("rtmp://", "rtmps://")):
            raise BadRequest("The URL of a destination must begin with rtmp:// or rtmps://.")
        destination = Destination(id=f"DE_{secrets.token_urlsafe(6)}", url=url)
        self._apply(room, job, replace(before, destinations=(*before.destinations, destination)), None)
        return destination

    def remove_destination(self, room: Room, destination: str) -> None:
        """Raises NotFound."""
        job = self.find(room.name)
        left = tuple(one for one in job.spec.destinations if one.id != destination)
        if len(left) == len(job.spec.destinations):
            raise NotFound("The room's egress has no such destination.")
        self._apply(room, job, replace(job.spec, destinations=left), None)

    def stop(self, room: str) -> None:
        """Stops all outputs of the room's egress. Raises NotFound."""
        job = self.find(room)
        job.change(EgressSpec(layout=job.spec.layout))

    def start_track_egress(self, room: Room) -> TrackEgress:
        """Records every track of the room to its own file. Raises Conflict, AtCapacity, RemoteError."""
        if room.name in self._track_egresses:
            raise Conflict("This room's tracks are already being recorded.")
        if len(self._track_egresses) >= self.settings.max_jobs:
            raise AtCapacity("This server cannot run another recording.")
        plain_transport = PlainTransport(self._webrtc_server, "tracks")
        try:
            track_egress = TrackEgress(
                room, plain_transport, self.settings, self._directory(room.name), self._track_egress_ended
            )
        except BaseException:
            plain_transport.close()
            raise
        self._track_egresses[room.name] = track_egress
        self._finishing.add(track_egress.task)
        track_egress.task.add_done_callback(self._finished)
        self._reports.tracks(track_egress)
        self._reports.recording_started(track_egress.directory, room.name, "")
        self._finish(self._report_tracks(track_egress))
        self.publish_state(room)
        return track_egress

    def stop_track_egress(self, room: str) -> None:
        """Stops the room's track recording. Raises NotFound."""
        if room not in self._track_egresses:
            raise NotFound("This room's tracks are not being recorded.")
        self._track_egresses[room].close()

    def _track_egress_ended(self, track_egress: TrackEgress) -> None:
        if self._track_egresses.get(track_egress.room.name) is track_egress:
            del self._track_egresses[track_egress.room.name]
        self._reports.tracks(track_egress, ended=True)
        self.publish_state(track_egress.room)

    def active_recordings(self) -> Counter[str]:
        """Number of active recordings per state in `RECORDING_STATES`."""
        composites = [one.recording.problem for one in self.list() if one.recording is not None]
        tracks = [one.problem for one in self._track_egresses.values()]
        return Counter(RECORDING_STATES[bool(problem)] for problem in (*composites, *tracks))

    def recordings(self, room: str) -> "Sequence[StoredRecording]":
        """The room's recordings, newest first. Reads the disk: call it from a thread other than the loop's."""
        return list_recordings(Path(self.settings.directory), room)

    async def run(self) -> None:
        """Restores live streams and finishes recordings after a crash, then removes expired live streams until cancelled."""
        for stored in self.live_streams.restore(await asyncio.to_thread(self.live_streams.find_stored), unix_time()):
            stored.live_stream.end(unix_time())
        for recording in await asyncio.to_thread(list_recordings, Path(self.settings.directory)):
            if recording.recording:  # the server crashed during this recording
                self._finish(self._complete(finalize(recording.directory, self.settings.s3), recording.directory))
        while True:
            await asyncio.sleep(CLEANUP_INTERVAL)
            try:
                self.live_streams.expire(unix_time())
            except Exception:
                log.exception("live stream cleanup failed")

    async def close(self) -> None:
        """Closes all jobs and waits, up to 10 s, until recordings are finished."""
        egress_jobs = self.list()
        for job in egress_jobs:
            job.close()
        for track_egress in self._track_egresses.values():
            track_egress.close()
        with suppress(TimeoutError):
            async with asyncio.timeout(10):
                for job in egress_jobs:
                    await job.wait_closed()
                if self._finishing:
                    await asyncio.wait(self._finishing)
        await asyncio.to_thread(self.live_streams.close)

    # -- OutputStore ------------------------------------------------------------------------------------------------

    def open_live_stream(
        self, room: str, renditions: tuple[Rendition, ...], position: StreamPosition | None
    ) -> LiveStream:
        if position is not None:
            # This node may have a part of the live stream from an earlier time as home: then viewers reload.
            with suppress(ValueError):
                continued = self.live_streams.open(room, position.stream_id, renditions)
                continued.continue_from(position, unix_time())
                return continued
        return self.live_streams.open(room, f"P{secrets.token_hex(8)}", renditions)

    def open_recording(self, room: str, egress_id: str) -> Recording:
        recording = Recording(self._directory(room), room, egress_id)
        self._reports.recording_started(recording.directory, room, egress_id)
        return recording

    def _directory(self, room: str) -> Path:
        stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
        name = safe_name(room, MAX_ROOM_NAME_BYTES, fallback="room")
        return unused_path(Path(self.settings.directory), f"{name}-{stamp}-{secrets.token_hex(3)}")

    def publish_state(self, room: Room) -> None:
        job = self._by_room.get(room.name)
        self._publish(room, job.room_state if job is not None else EgressStatus())
        if job is not None:
            self._reports.job(job)
        self.changed(room.name)

    def _publish(self, room: Room, state: EgressStatus) -> None:
        track_egress = self._track_egresses.get(room.name)
        if track_egress is not None:
            since = state.since or round(track_egress.started_at, 3)
            problem = state.problem or track_egress.problem
            state = replace(state, recording=True, since=since, problem=problem)
        room.set_egress_status(state)

    def finish_recording(self, recording: Recording) -> None:
        self._finish(self._complete(recording.finish(self.settings.s3), recording.directory))

    async def _complete(self, finishing: Coroutine[None, None, None], directory: Path) -> None:
        await finishing
        self._reports.recording_finished(await asyncio.to_thread(finished_recording, directory))

    async def _report_tracks(self, track_egress: TrackEgress) -> None:
        await asyncio.wait([track_egress.task])
        self._reports.recording_finished(await asyncio.to_thread(finished_recording, track_egress.directory))

    def _finish(self, finishing: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(finishing)
        self._finishing.add(task)
        task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._finishing.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("recording not finished", exc_info=error)

    # -- other nodes ------------------------------------------------------------------------------------------------

    def snapshot(self, room: str) -> bytes:
        """The wanted egress of a room, for the node that continues it; empty: nothing runs."""
        job = self._by_room.get(room)
        tracks = room in self._track_egresses
        if (job is None or job.closing) and not tracks:
            return b""
        wanted = WantedEgress(tracks=tracks)
        if job is not None and not job.closing:
            stream = job.live_stream
            wanted = WantedEgress(
                spec=job.spec,
                renditions=[one.name for one in job.renditions],
                position=stream.position(unix_time()) if stream is not None else None,
                tracks=tracks,
            )
        return msgspec.msgpack.encode(wanted)

    def restore(self, room: Room, snapshot: bytes) -> None:
        """Starts what ran on the node that is gone: the live stream continues, a recording has a second part."""
        try:
            wanted = msgspec.msgpack.decode(snapshot, type=WantedEgress)
            if wanted.spec.has_outputs:
                self._apply(room, None, wanted.spec, wanted.renditions, wanted.position)
            if wanted.tracks:
                self.start_track_egress(room)
        except (RemoteError, msgspec.DecodeError) as error:
            log.error("egress cannot continue on this node", extra={"room_id": room.id, "reason": str(error)})
        else:
            log.info("egress continues on this node", extra={"room_id": room.id})

    # ---------------------------------------------------------------------------------------------------------------

    def _apply(
        self,
        room: Room,
        job: EgressJob | None,
        spec: EgressSpec,
        renditions: "Sequence[str] | None",
        position: StreamPosition | None = None,
    ) -> EgressJob | None:
        if job is not None and job.closing:
            raise Conflict("The room's previous egress is still ending; try again in a moment.")
        if job is None:
            if not spec.has_outputs:
                raise NotFound("This room has no active egress.")
            job = self._start(room, renditions)
            job.position = position
        try:
            job.change(spec)
        except BaseException:
            if not job.spec.has_outputs:
                job.close()
            raise
        return self._by_room.get(room.name)

    def _start(self, room: Room, renditions: "Sequence[str] | None") -> EgressJob:
        if len(self._by_room) >= self.settings.max_jobs:
            raise AtCapacity("This server cannot run another egress.")
        self._admit()
        ladder = self._ladder
        if renditions is not None:
            ladder = tuple(one for one in ladder if one.name in renditions)
            if not ladder or len(ladder) != len(set(renditions)):
                names = ", ".join(one.name for one in self._ladder)
                raise BadRequest(f"Unknown rendition. This server offers {names}.")
        plain_transport = PlainTransport(self._webrtc_server, "egress")
        try:
            job = EgressJob(room, plain_transport, self.settings, ladder, self, self._job_ended, self._tracer)
        except BaseException:
            plain_transport.close()
            raise
        self._by_room[room.name] = job
        self.started += 1
        log.info("egress started", extra={"egress": job.id, "room_id": room.id})
        return job

    def _job_ended(self, job: EgressJob) -> None:
        if self._by_room.get(job.room.name) is job:
            del self._by_room[job.room.name]
        self.restarts += job.restarts
        self._publish(job.room, EgressStatus(problem=job.problem))
        self._reports.job(job, ended=True)
        log.info("egress ended", extra={"egress": job.id, "restarts": job.restarts})


def _check_scene(scene: str) -> None:
    """Raises BadRequest for an invalid scene. The worker parses it again; this check reports errors to the caller."""
    if scene:
        parse_template(scene)
