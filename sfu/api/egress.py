"""The admin API of egress: live streams, recordings, RTMP push, and the mix as a track in the room.

OPERATIONS extends `admin.OPERATIONS`; its operations require tokens with `roomRecord` or `roomEgress`.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import quote

import msgspec
from msgspec import Meta

from sfu.api.admin import PREFIX, Call, Operation
from sfu.api.ports import EgressJob, EgressPort
from sfu.api.schemas import RequestBody, Schema
from sfu.errors import Conflict, NotAuthorized, NotFound
from sfu.rooms.egress_status import LayoutName

Url = Annotated[str, Meta(min_length=8, max_length=1024)]


class DestinationInfo(Schema, frozen=True, kw_only=True):
    """One RTMP destination. Its URL may contain a stream key and is never returned."""

    id: str
    host: str
    state: Literal["connecting", "live", "waiting", "failed"]
    sent_bytes: int
    dropped: int
    detail: str


class EgressInfo(Schema, frozen=True, kw_only=True):
    """The egress job of a room."""

    room: str
    id: str
    live: bool
    recording: bool
    track: bool
    layout: LayoutName
    layout_now: str
    "The layout that `auto` currently selects."
    focus: str
    started_at: float
    renditions: list[str]
    watch: str
    "Path of the watch page; empty unless live."
    directory: str
    "Directory of the recording on the server; empty unless recording."
    destinations: list[DestinationInfo]
    worker: int
    "Process id of the worker; 0: no worker is running."
    restarts: int
    "Number of worker replacements."
    problem: str
    ticks: int
    "Number of mixed video frames."
    dropped_ticks: int
    cpu: float
    "CPU seconds of the worker."
    memory: int
    "Memory of the worker in bytes."


class EgressList(Schema, frozen=True, kw_only=True):
    egress: list[EgressInfo]


class ChangeEgress(RequestBody, frozen=True, kw_only=True):
    """Omitted fields stay unchanged. `live` and `track` require `roomEgress`, `recording` requires `roomRecord`."""

    live: bool | None = None
    recording: bool | None = None
    track: bool | None = None
    "Publish the mix to the room over WebRTC."
    layout: LayoutName | None = None
    focus: Annotated[str, Meta(max_length=128)] | None = None
    "Id of the participant in the large tile; empty: the active speaker."
    renditions: Annotated[list[str], Meta(min_length=1, max_length=8)] | None = None
    "Names of the server's renditions, e.g. `720p`; takes effect at the start of a job. Omitted: all."


class ChangeLayout(RequestBody, frozen=True, kw_only=True):
    layout: LayoutName
    focus: Annotated[str, Meta(max_length=128)] = ""


class AddDestination(RequestBody, frozen=True, kw_only=True):
    url: Url
    "`rtmp://` or `rtmps://` URL including the stream key."


class RecordingFile(Schema, frozen=True, kw_only=True):
    name: str
    size: int


class RecordingInfo(Schema, frozen=True, kw_only=True):
    name: str
    directory: str
    "Directory on the server."
    started_at: float
    recording: bool
    "The recording is still in progress."
    files: list[RecordingFile]


class RecordingList(Schema, frozen=True, kw_only=True):
    recordings: list[RecordingInfo]


def _egress_info(call: Call, job: EgressJob) -> EgressInfo:
    spec, status, recording = job.spec, job.status, job.recording
    hosts = {one.id: one.url.split("/")[2] for one in spec.destinations}
    return EgressInfo(
        room=job.room.name,
        id=job.id,
        live=spec.live,
        recording=spec.recording,
        track=spec.publish_to_room,
        layout=spec.layout,
        layout_now=status.layout if status is not None else "",
        focus=spec.focus,
        started_at=job.started_at,
        renditions=[one.name for one in job.renditions],
        watch=f"{call.base_path}/watch/{quote(job.room.name, safe='')}" if spec.live else "",
        directory=str(recording.directory) if recording is not None else "",
        destinations=[
            DestinationInfo(
                id=one.id,
                host=hosts.get(one.id, "").rpartition("@")[2],
                state=one.state,
                sent_bytes=one.sent_bytes,
                dropped=one.dropped,
                detail=one.detail,
            )
            for one in job.destinations
        ],
        worker=job.supervisor.pid,
        restarts=job.restarts,
        problem=job.problem,
        ticks=status.ticks if status is not None else 0,
        dropped_ticks=status.dropped_ticks if status is not None else 0,
        cpu=round(status.cpu, 3) if status is not None else 0.0,
        memory=status.memory if status is not None else 0,
    )


def _egress_jobs(call: Call) -> EgressPort:
    if call.services.egress_jobs is None:
        raise NotFound("Egress is disabled on this server.")
    return call.services.egress_jobs


def _list(call: Call) -> EgressList:
    return EgressList(egress=[_egress_info(call, each) for each in _egress_jobs(call).list()])


def _view(call: Call) -> EgressInfo:
    return _egress_info(call, _egress_jobs(call).find(call.room))


def _change(call: Call) -> EgressInfo | None:
    body, grants = call.body, call.claims.video
    assert isinstance(body, ChangeEgress)
    if (body.live is not None or body.track is not None) and not grants.may_live_stream(call.room):
        raise NotAuthorized("This requires a token with roomEgress.")
    if body.recording is not None and not grants.may_record(call.room):
        raise NotAuthorized("This requires a token with roomRecord.")
    egress_jobs, room = _egress_jobs(call), call.services.rooms.find(call.room)
    job = egress_jobs.change(
        room,
        live=body.live,
        recording=body.recording,
        publish_to_room=body.track,
        layout=body.layout,
        focus=body.focus,
        renditions=body.renditions,
    )
    return _egress_info(call, job) if job is not None else None


def _stop(call: Call) -> None:
    job, grants = _egress_jobs(call).find(call.room), call.claims.video
    spec = job.spec
    if spec.recording and not grants.may_record(call.room):
        raise NotAuthorized("The room is being recorded: this requires a token with roomRecord.")
    if (spec.live or spec.publish_to_room or spec.destinations) and not grants.may_live_stream(call.room):
        raise NotAuthorized("The room is being streamed: this requires a token with roomEgress.")
    _egress_jobs(call).stop(call.room)


def _layout(call: Call) -> EgressInfo | None:
    body = call.body
    assert isinstance(body, ChangeLayout)
    egress_jobs = _egress_jobs(call)
    egress_jobs.find(call.room)
    job = egress_jobs.change(call.services.rooms.find(call.room), layout=body.layout, focus=body.focus)
    return _egress_info(call, job) if job is not None else None


class Scene(RequestBody, frozen=True, kw_only=True):
    """A JSON scene (see `sfu.mixer.scene`); null returns to the layout."""

    scene: dict[str, Any] | None


def _scene(call: Call) -> EgressInfo | None:
    body = call.body
    assert isinstance(body, Scene)
    egress_jobs = _egress_jobs(call)
    egress_jobs.find(call.room)
    text = "" if body.scene is None else msgspec.json.encode(body.scene).decode()
    job = egress_jobs.change(call.services.rooms.find(call.room), scene=text)
    return _egress_info(call, job) if job is not None else None


def _add_destination(call: Call) -> EgressInfo:
    body = call.body
    assert isinstance(body, AddDestination)
    _egress_jobs(call).add_destination(call.services.rooms.find(call.room), body.url)
    return _egress_info(call, _egress_jobs(call).find(call.room))


def _remove_destination(call: Call) -> None:
    _egress_jobs(call).remove_destination(call.services.rooms.find(call.room), call.parameters["destination"])


def _start_track_recording(call: Call) -> None:
    _egress_jobs(call).start_track_egress(call.services.rooms.find(call.room))


def _stop_track_recording(call: Call) -> None:
    _egress_jobs(call).stop_track_egress(call.room)


def _recordings(call: Call) -> Callable[[], RecordingList]:
    egress_jobs, room = _egress_jobs(call), call.room

    def read() -> RecordingList:
        return RecordingList(
            recordings=[
                RecordingInfo(
                    name=each.name,
                    directory=str(each.directory),
                    started_at=each.started_at,
                    recording=each.recording,
                    files=[RecordingFile(name=name, size=size) for name, size in each.files],
                )
                for each in egress_jobs.recordings(room)
            ]
        )

    return read


def _recording(call: Call) -> Callable[[], Path]:
    """A file of a listed recording. Never builds a path from the request, which prevents path traversal."""
    egress_jobs, room = _egress_jobs(call), call.room
    recording, file = call.parameters["recording"], call.parameters["file"]

    def read() -> Path:
        for each in egress_jobs.recordings(room):
            if each.name != recording:
                continue
            if each.recording:
                raise Conflict("This recording is still in progress.")
            for name, _ in each.files:
                path = each.directory / name
                if name == file and path.is_file() and not path.is_symlink():
                    return path
        raise NotFound("The recording or the file does not exist.")

    return read


_EGRESS = f"{PREFIX}/rooms/{{room}}/egress"

OPERATIONS: tuple[Operation, ...] = (
    Operation(
        name="listEgress",
        method="GET",
        path=f"{PREFIX}/egress",
        summary="Lists the egress jobs of all rooms.",
        grant="list",
        run=_list,
        answer=EgressList,
    ),
    Operation(
        name="getEgress",
        method="GET",
        path=_EGRESS,
        summary="Returns the egress job of a room.",
        grant="record_or_egress",
        run=_view,
        answer=EgressInfo,
    ),
    Operation(
        name="changeEgress",
        method="PUT",
        path=_EGRESS,
        summary="Starts or changes the egress of a room. 200 without a body: no output is left, so the job has ended.",
        grant="record_or_egress",
        run=_change,
        body=ChangeEgress,
        answer=EgressInfo,
    ),
    Operation(
        name="stopEgress",
        method="DELETE",
        path=_EGRESS,
        summary="Stops the egress of a room with all its outputs.",
        grant="record_or_egress",
        run=_stop,
        status=204,
    ),
    Operation(
        name="changeLayout",
        method="PUT",
        path=f"{_EGRESS}/layout",
        summary="Changes the layout of the mix.",
        grant="record_or_egress",
        run=_layout,
        body=ChangeLayout,
        answer=EgressInfo,
    ),
    Operation(
        name="changeScene",
        method="PUT",
        path=f"{_EGRESS}/scene",
        summary="Sets a JSON scene that defines the mix exactly.",
        grant="record_or_egress",
        run=_scene,
        body=Scene,
        answer=EgressInfo,
    ),
    Operation(
        name="addDestination",
        method="POST",
        path=f"{_EGRESS}/destinations",
        summary="Adds an RTMP destination; starts the egress if necessary.",
        grant="egress",
        run=_add_destination,
        body=AddDestination,
        answer=EgressInfo,
        status=201,
    ),
    Operation(
        name="removeDestination",
        method="DELETE",
        path=f"{_EGRESS}/destinations/{{destination}}",
        summary="Removes an RTMP destination.",
        grant="egress",
        run=_remove_destination,
        status=204,
    ),
    Operation(
        name="recordTracks",
        method="PUT",
        path=f"{_EGRESS}/tracks",
        summary="Records all tracks of a room without transcoding, one file each; `sfu mix` mixes them later.",
        grant="record",
        run=_start_track_recording,
        status=204,
    ),
    Operation(
        name="stopRecordingTracks",
        method="DELETE",
        path=f"{_EGRESS}/tracks",
        summary="Stops the recording of tracks.",
        grant="record",
        run=_stop_track_recording,
        status=204,
    ),
    Operation(
        name="listRecordings",
        method="GET",
        path=f"{PREFIX}/rooms/{{room}}/recordings",
        summary="Lists the recordings of a room, newest first, with their directories on the server.",
        grant="record",
        run=_recordings,
        answer=RecordingList,
    ),
    Operation(
        name="getRecordingFile",
        method="GET",
        path=f"{PREFIX}/rooms/{{room}}/recordings/{{recording}}/{{file}}",
        summary="Returns a file of a finished recording; supports range requests.",
        grant="record",
        run=_recording,
        file=True,
    ),
)
