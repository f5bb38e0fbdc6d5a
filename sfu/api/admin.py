"""The admin API: what an operator's program may do to rooms, under a token with `roomAdmin`, `roomList` or `roomCreate`.

Each operation is a row of OPERATIONS: from it come the route, the check of grant and body, and the OpenAPI document.
A room that the token does not open and a room that does not exist are answered alike.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from msgspec import Struct

from sfu.api import schemas
from sfu.api.ports import EgressPort, RoomsPort
from sfu.auth.grants import VideoGrants
from sfu.auth.tokens import Claims
from sfu.errors import BadRequest, NotAuthorized, NotFound

PREFIX = "/api/v1"

Grant = Literal["list", "create", "view", "delete", "admin", "record", "egress", "record_or_egress"]

GRANT_WORDS: dict[Grant, str] = {
    "list": "`roomList`",
    "create": "`roomCreate`",
    "view": "`roomAdmin` for this room, or `roomList`",
    "delete": "`roomAdmin` for this room, or `roomCreate`",
    "admin": "`roomAdmin` for this room",
    "record": "`roomRecord` for this room",
    "egress": "`roomEgress` for this room",
    "record_or_egress": "`roomRecord` or `roomEgress` for this room",
}
_EGRESS_GRANTS: dict[Grant, Callable[[VideoGrants], bool]] = {
    "record": lambda grants: grants.room_record,
    "egress": lambda grants: grants.room_egress,
    "record_or_egress": lambda grants: grants.room_record or grants.room_egress,
}
"""Grants over the programme of the room that the token names."""
_GENERAL: dict[Grant, Callable[[VideoGrants], bool]] = {
    "list": lambda grants: grants.room_list,
    "create": lambda grants: grants.room_create,
    "view": lambda grants: grants.room_list,
    "delete": lambda grants: grants.room_create and not grants.room,
    "admin": lambda grants: False,
    "record": lambda grants: False,
    "egress": lambda grants: False,
    "record_or_egress": lambda grants: False,
}
"""Grants that open every room; `roomAdmin` opens the one that the token names."""


@dataclass(frozen=True, slots=True)
class Call:
    """One authorized request."""

    rooms: RoomsPort
    claims: Claims
    parameters: dict[str, str]
    "From the path, decoded."
    query: dict[str, str]
    body: Struct | None
    revoke: Callable[[str, str], None]
    "(room, identity): their tokens of before now open nothing any more."
    egress_jobs: EgressPort | None = None
    base_path: str = ""
    "In front of paths that the answer names."

    @property
    def room(self) -> str:
        return self.parameters["room"]

    @property
    def identity(self) -> str:
        return self.parameters["identity"]


Answer = Struct | Path | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One row of the API. `run` is synchronous: it runs to completion on the loop that owns the rooms. An operation that
    reads the disk returns a function, which is called in another thread and returns the answer.
    """

    name: str
    method: str
    path: str
    summary: str
    grant: Grant
    run: Callable[[Call], Answer | Callable[[], Answer]]
    "A path: the file is the answer, whole or in ranges (RFC 9110 14)."
    body: type[Struct] | None = None
    answer: type[Struct] | None = None
    status: int = 200
    query: tuple[str, ...] = ()
    file: bool = False
    "Whether the answer is a file."


def authorize(operation: Operation, grants: VideoGrants, room: str) -> None:
    """Raises NotAuthorized when the token has no such grant at all, NotFound when it is for another room."""
    if _GENERAL[operation.grant](grants):
        return
    if grants.room_admin and operation.grant in ("view", "delete", "admin"):
        if grants.may_administer(room):
            return
        raise NotFound("There is no such room, or this token does not open it.")
    if operation.grant in _EGRESS_GRANTS and _EGRESS_GRANTS[operation.grant](grants):
        if grants.room == room and room:
            return
        raise NotFound("There is no such room, or this token does not open it.")
    raise NotAuthorized(f"This needs a token with {GRANT_WORDS[operation.grant].replace('`', '')}.")


def _list_rooms(call: Call) -> schemas.RoomList:
    return schemas.RoomList(rooms=[schemas.room_info(room) for room in call.rooms.list()])


def _create_room(call: Call) -> schemas.RoomInfo:
    body = call.body
    assert isinstance(body, schemas.CreateRoom)
    if call.claims.video.room and call.claims.video.room != body.name:
        raise NotAuthorized("This token is for another room.")
    room = call.rooms.create(
        body.name,
        metadata=body.metadata,
        lobby=body.lobby,
        idle_timeout=body.idle_timeout,
        last_n=body.last_n,
        loudest=body.loudest,
    )
    return schemas.room_info(room)


def _view_room(call: Call) -> schemas.RoomInfo:
    return schemas.room_info(call.rooms.find(call.room))


def _update_room(call: Call) -> schemas.RoomInfo:
    body = call.body
    assert isinstance(body, schemas.UpdateRoom)
    room = call.rooms.update(call.room, metadata=body.metadata, locked=body.locked, lobby=body.lobby)
    return schemas.room_info(room)


def _delete_room(call: Call) -> None:
    call.rooms.delete(call.room)


def _list_participants(call: Call) -> schemas.ParticipantList:
    room = call.rooms.find(call.room)
    return schemas.ParticipantList(
        participants=[schemas.participant_info(each) for each in room.members],
        waiting=[schemas.waiting_info(each) for each in room.lobby],
    )


def _view_participant(call: Call) -> schemas.ParticipantDetail:
    return schemas.participant_detail(call.rooms.participant(call.room, call.identity), time.time())


def _update_participant(call: Call) -> schemas.ParticipantInfo:
    body = call.body
    assert isinstance(body, schemas.UpdateParticipant)
    participant = call.rooms.participant(call.room, call.identity)
    if body.permissions is not None:
        asked = body.permissions
        changes: dict[str, object] = {
            name: value
            for name in ("publish", "subscribe", "data", "admin", "update_metadata")
            if (value := getattr(asked, name)) is not None
        }
        if asked.sources is not None:
            changes["sources"] = tuple(asked.sources)
        call.rooms.set_permissions(call.room, call.identity, replace(participant.permissions, **changes))  # type: ignore[arg-type]  # checked by UpdatePermissions
    participant = call.rooms.update_participant(
        call.room, call.identity, display_name=body.name, metadata=body.metadata, attributes=body.attributes
    )
    return schemas.participant_info(participant)


def _remove_participant(call: Call) -> None:
    call.rooms.kick(call.room, call.identity, call.query.get("reason", "")[:256])
    call.revoke(call.room, call.identity)


def _mute(call: Call) -> None:
    body = call.body
    assert isinstance(body, schemas.Mute)
    if not body.muted:
        raise BadRequest("Only the owner may unmute a track.")
    participant = call.rooms.participant(call.room, call.identity)
    if call.parameters["track"] not in participant.publications:
        raise NotFound("The participant publishes no such track.")
    call.rooms.mute(call.room, call.parameters["track"], True)


def _send_data(call: Call) -> None:
    body = call.body
    assert isinstance(body, schemas.SendData)
    call.rooms.send_data(call.room, body.payload, topic=body.topic, identities=body.to, keep=body.keep)


_ROOM = f"{PREFIX}/rooms/{{room}}"
_PARTICIPANT = f"{_ROOM}/participants/{{identity}}"

OPERATIONS: tuple[Operation, ...] = (
    Operation(
        name="listRooms",
        method="GET",
        path=f"{PREFIX}/rooms",
        summary="All rooms.",
        grant="list",
        run=_list_rooms,
        answer=schemas.RoomList,
    ),
    Operation(
        name="createRoom",
        method="POST",
        path=f"{PREFIX}/rooms",
        summary="Opens a room before anybody joins.",
        grant="create",
        run=_create_room,
        body=schemas.CreateRoom,
        answer=schemas.RoomInfo,
        status=201,
    ),
    Operation(
        name="getRoom",
        method="GET",
        path=_ROOM,
        summary="One room.",
        grant="view",
        run=_view_room,
        answer=schemas.RoomInfo,
    ),
    Operation(
        name="updateRoom",
        method="PATCH",
        path=_ROOM,
        summary="Changes metadata, lock and lobby.",
        grant="admin",
        run=_update_room,
        body=schemas.UpdateRoom,
        answer=schemas.RoomInfo,
    ),
    Operation(
        name="deleteRoom",
        method="DELETE",
        path=_ROOM,
        summary="Ends the room for everybody.",
        grant="delete",
        run=_delete_room,
        status=204,
    ),
    Operation(
        name="listParticipants",
        method="GET",
        path=f"{_ROOM}/participants",
        summary="Everybody in the room, hidden ones too, and who waits in its lobby.",
        grant="admin",
        run=_list_participants,
        answer=schemas.ParticipantList,
    ),
    Operation(
        name="getParticipant",
        method="GET",
        path=_PARTICIPANT,
        summary="One participant with its tracks, what it is sent and why, and what its browser reports.",
        grant="admin",
        run=_view_participant,
        answer=schemas.ParticipantDetail,
    ),
    Operation(
        name="updateParticipant",
        method="PATCH",
        path=_PARTICIPANT,
        summary="Changes name, metadata, attributes and permissions.",
        grant="admin",
        run=_update_participant,
        body=schemas.UpdateParticipant,
        answer=schemas.ParticipantInfo,
    ),
    Operation(
        name="removeParticipant",
        method="DELETE",
        path=_PARTICIPANT,
        summary="Removes somebody from the room or its lobby, and revokes the tokens made for them so far.",
        grant="admin",
        run=_remove_participant,
        status=204,
        query=("reason",),
    ),
    Operation(
        name="muteTrack",
        method="POST",
        path=f"{_PARTICIPANT}/tracks/{{track}}/mute",
        summary="Stops a track at the server until its owner unmutes it.",
        grant="admin",
        run=_mute,
        body=schemas.Mute,
        status=204,
    ),
    Operation(
        name="sendData",
        method="POST",
        path=f"{_ROOM}/data",
        summary="Sends application data to the room or to some of it.",
        grant="admin",
        run=_send_data,
        body=schemas.SendData,
        status=204,
    ),
)
