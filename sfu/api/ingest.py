"""Operations of the admin API for ingest: stream keys, cameras and the state of their streams."""

from collections.abc import Callable
from typing import Annotated, Literal

from msgspec import Meta, Struct

from sfu.api.admin import PREFIX, Call, Operation
from sfu.api.ports import IngestPort
from sfu.errors import NotFound
from sfu.ingest.status import IngestStatus

Text = Annotated[str, Meta(min_length=1, max_length=128)]


class CreateIngest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A stream key for an encoder, or a camera that the server pulls."""

    identity: Text
    "Identity of the participant that the encoder becomes."
    name: Annotated[str, Meta(max_length=128)] = ""
    "Display name."
    url: Annotated[str, Meta(max_length=2048)] = ""
    """`rtsp://` or `rtsps://` address of a camera with its credentials, which no answer repeats; empty: create a stream
    key."""


class IngestInfo(Struct, frozen=True, kw_only=True):
    """A stream key or a camera, and the state of its stream."""

    id: str
    room: str
    identity: str
    name: str
    created_at: float
    "Seconds since 1970."
    state: Literal["waiting", "live", "error"]
    problem: str
    "Why the last stream failed, or what to change in the encoder; empty: nothing."
    codec: str
    "Video codec of the encoder; empty: no video."
    width: int
    height: int
    received_bytes: int
    url: str
    "Address of the camera without credentials and path; empty: the encoder uses a stream key."


class CreatedIngest(Struct, frozen=True, kw_only=True):
    """A new stream key. The server stores a hash only: the key cannot be read again."""

    key: str
    "Empty for a camera."
    ingest: IngestInfo


class IngestList(Struct, frozen=True, kw_only=True):
    ingests: list[IngestInfo]


def _port(call: Call) -> IngestPort:
    if call.services.ingests is None:
        raise NotFound("This server has no ingest.")
    return call.services.ingests


def _info(status: IngestStatus) -> IngestInfo:
    key = status.key
    return IngestInfo(
        id=key.id,
        room=key.room,
        identity=key.identity,
        name=key.name,
        created_at=key.created_at,
        state=status.state,
        problem=status.problem,
        codec=status.codec,
        width=status.width,
        height=status.height,
        received_bytes=status.received_bytes,
        url=status.url,
    )


def _create(call: Call) -> Callable[[], CreatedIngest]:
    body, port = call.body, _port(call)
    assert isinstance(body, CreateIngest)
    if body.url:
        camera = port.create_pull(call.room, body.identity, body.name, body.url)

        def store_camera() -> CreatedIngest:
            port.save()
            return CreatedIngest(key="", ingest=_info(camera))

        return store_camera
    status, key = port.create(call.room, body.identity, body.name)

    def store() -> CreatedIngest:
        port.save()
        return CreatedIngest(key=key, ingest=_info(status))

    return store


def _revoke(call: Call) -> Callable[[], None]:
    port = _port(call)
    port.revoke(call.room, call.parameters["ingest"])
    return port.save


def _list(call: Call) -> IngestList:
    return IngestList(ingests=[_info(status) for status in _port(call).list()])


def _list_room(call: Call) -> IngestList:
    return IngestList(ingests=[_info(status) for status in _port(call).list(call.room)])


_ROOM = f"{PREFIX}/rooms/{{room}}/ingest"

OPERATIONS: tuple[Operation, ...] = (
    Operation(
        name="listIngests",
        method="GET",
        path=f"{PREFIX}/ingest",
        summary="Lists all stream keys and cameras with the state of their streams.",
        grant="list",
        run=_list,
        answer=IngestList,
    ),
    Operation(
        name="listRoomIngests",
        method="GET",
        path=_ROOM,
        summary="Lists the stream keys and cameras of a room with the state of their streams.",
        grant="view",
        run=_list_room,
        answer=IngestList,
    ),
    Operation(
        name="createIngest",
        method="POST",
        path=_ROOM,
        summary="Creates a stream key for an encoder, or pulls a camera. The room need not exist; the stream creates it.",
        grant="admin",
        run=_create,
        body=CreateIngest,
        answer=CreatedIngest,
        status=201,
    ),
    Operation(
        name="revokeIngest",
        method="DELETE",
        path=f"{_ROOM}/{{ingest}}",
        summary="Revokes a stream key or removes a camera, and ends its stream.",
        grant="admin",
        run=_revoke,
        status=204,
    ),
)
