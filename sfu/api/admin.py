"""The admin API for rooms and participants. Requires a token with `roomAdmin`, `roomList` or `roomCreate`.

OPERATIONS defines the routes, the required grants and the body types; the OpenAPI document is generated from it. A room
outside the token's scope and a room that does not exist get the same response.
"""

import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, Protocol

from aiohttp import web
from msgspec import Struct

from sfu.api import schemas
from sfu.api.services import Services
from sfu.auth.grants import VideoGrants
from sfu.auth.tokens import Claims
from sfu.errors import BadRequest, NotAuthorized, NotFound

PREFIX = "/api/v1"

Grant = Literal["list", "create", "view", "delete", "admin", "record", "egress", "record_or_egress", "operate"]

GRANT_DESCRIPTIONS: dict[Grant, str] = {
    "list": "`roomList`",
    "create": "`roomCreate`",
    "view": "`roomAdmin` for this room, or `roomList`",
    "delete": "`roomAdmin` for this room, or `roomCreate`",
    "admin": "`roomAdmin` for this room",
    "record": "`roomRecord` for this room",
    "egress": "`roomEgress` for this room",
    "record_or_egress": "`roomRecord` or `roomEgress` for this room",
    "operate": "`roomCreate` and `roomList`, and without a room",
}
_EGRESS_GRANTS: dict[Grant, Callable[[VideoGrants], bool]] = {
    "record": lambda grants: grants.room_record,
    "egress": lambda grants: grants.room_egress,
    "record_or_egress": lambda grants: grants.room_record or grants.room_egress,
}
"""Egress grants; they apply to the token's room."""
_GENERAL: dict[Grant, Callable[[VideoGrants], bool]] = {
    "list": lambda grants: grants.room_list,
    "create": lambda grants: grants.room_create,
    "view": lambda grants: grants.room_list,
    "delete": lambda grants: grants.room_create and not grants.room,
    "admin": lambda grants: False,
    "record": lambda grants: False,
    "egress": lambda grants: False,
    "record_or_egress": lambda grants: False,
    "operate": lambda grants: grants.room_create and grants.room_list and not grants.room,
}
"""Grants for all rooms; `roomAdmin` applies to the token's room only."""


@dataclass(frozen=True, slots=True)
class Call:
    """One authorized request."""

    services: Services
    claims: Claims
    parameters: dict[str, str]
    "Decoded path parameters."
    query: dict[str, str]
    body: Struct | None
    base_path: str = ""
    "Prefix of paths in the response."

    @property
    def room(self) -> str:
        return self.parameters["room"]

    @property
    def identity(self) -> str:
        return self.parameters["identity"]

    def revoke(self, room: str, identity: str) -> None:
        """Revokes the participant's tokens that were issued up to now."""
        self.services.verifier.revoke_participant(room, identity, time.time())


class Responder(Protocol):
    """An answer that writes its own response, because it is not JSON."""

    async def respond(self, request: web.Request) -> web.StreamResponse: ...


Answer = Struct | Path | Responder | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One operation of the API.

    `run` is synchronous and runs on the event loop that owns the rooms. If it has to read the disk, it returns a function
    that returns the answer; that function runs in another thread. An operation that asks other nodes is a coroutine.
    """

    name: str
    method: str
    path: str
    summary: str
    grant: Grant
    run: Callable[[Call], Answer | Callable[[], Answer] | Coroutine[Any, Any, Answer]]
    "Returns the response body; a path means that the response is this file, with range support (RFC 9110 14)."
    body: type[Struct] | None = None
    answer: type[Struct] | None = None
    status: int = 200
    query: tuple[str, ...] = ()
    file: bool = False
    "Whether the response is a file."
    media: tuple[str, ...] = ()
    "Content types of text responses beside JSON."


def authorize(operation: Operation, grants: VideoGrants, room: str) -> None:
    """Raises NotAuthorized if the token lacks the grant, NotFound if the token is for another room."""
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
    raise NotAuthorized(f"This requires a token with {GRANT_DESCRIPTIONS[operation.grant].replace('`', '')}.")


def _list_rooms(call: Call) -> schemas.RoomList:
    return schemas.RoomList(rooms=[schemas.room_info(room) for room in call.services.rooms.list()])


def _create_room(call: Call) -> schemas.RoomInfo:
    body = call.body
    assert isinstance(body, schemas.CreateRoom)
    if call.claims.video.room and call.claims.video.room != body.name:
        raise NotAuthorized("This token is for another room.")
    room = call.services.rooms.create(
        body.name,
        metadata=body.metadata,
        lobby=body.lobby,
        idle_timeout=body.idle_timeout,
        last_n=body.last_n,
        loudest=body.loudest,
    )
    return schemas.room_info(room)


def _view_room(call: Call) -> schemas.RoomInfo:
    return schemas.room_info(call.services.rooms.find(call.room))


def _update_room(call: Call) -> schemas.RoomInfo:
    body = call.body
    assert isinstance(body, schemas.UpdateRoom)
    room = call.services.rooms.update(call.room, metadata=body.metadata, locked=body.locked, lobby=body.lobby)
    return schemas.room_info(room)


def _delete_room(call: Call) -> None:
    call.services.rooms.delete(call.room)


def _list_participants(call: Call) -> schemas.ParticipantList:
    room = call.services.rooms.find(call.room)
    return schemas.ParticipantList(
        participants=[schemas.participant_info(each) for each in room.members],
        waiting=[schemas.waiting_info(each) for each in room.lobby],
    )


def _view_participant(call: Call) -> schemas.ParticipantDetail:
    return schemas.participant_detail(call.services.rooms.participant(call.room, call.identity), time.time())


def _update_participant(call: Call) -> schemas.ParticipantInfo:
    body = call.body
    assert isinstance(body, schemas.UpdateParticipant)
    participant = call.services.rooms.participant(call.room, call.identity)
    if body.permissions is not None:
        asked = body.permissions
        changes: dict[str, object] = {
            name: value
            for name in ("publish", "subscribe", "data", "admin", "update_metadata")
            if (value := getattr(asked, name)) is not None
        }
        if asked.sources is not None:
            changes["sources"] = tuple(asked.sources)
        call.services.rooms.set_permissions(call.room, call.identity, replace(participant.permissions, **changes))  # type: ignore[arg-type]  # checked by UpdatePermissions
    participant = call.services.rooms.update_participant(
        call.room, call.identity, display_name=body.name, metadata=body.metadata, attributes=body.attributes
    )
    return schemas.participant_info(participant)


def _remove_participant(call: Call) -> None:
    call.services.rooms.kick(call.room, call.identity, call.query.get("reason", "")[:256])
    call.revoke(call.room, call.identity)


def _mute(call: Call) -> None:
    body = call.body
    assert isinstance(body, schemas.Mute)
    if not body.muted:
        raise BadRequest("Only its owner can unmute a track.")
    participant = call.services.rooms.participant(call.room, call.identity)
    if call.parameters["track"] not in participant.publications:
        raise NotFound("The participant does not publish this track.")
    call.services.rooms.mute(call.room, call.parameters["track"], True)


def _send_data(call: Call) -> None:
    body = call.body
    assert isinstance(body, schemas.SendData)
    call.services.rooms.send_data(call.room, body.payload, topic=body.topic, identities=body.to, keep=body.keep)


def _list_turn_servers(call: Call) -> schemas.TurnServerList:
    now = time.monotonic()
    return schemas.TurnServerList(
        servers=[schemas.TurnServer.of(status, now) for status in call.services.turn_servers()]
    )


_ROOM = f"{PREFIX}/rooms/{{room}}"
_PARTICIPANT = f"{_ROOM}/participants/{{identity}}"

OPERATIONS: tuple[Operation, ...] = (
    Operation(
        name="listRooms",
        method="GET",
        path=f"{PREFIX}/rooms",
        summary="Lists all rooms.",
        grant="list",
        run=_list_rooms,
        answer=schemas.RoomList,
    ),
    Operation(
        name="createRoom",
        method="POST",
        path=f"{PREFIX}/rooms",
        summary="Creates a room.",
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
        summary="Returns a room.",
        grant="view",
        run=_view_room,
        answer=schemas.RoomInfo,
    ),
    Operation(
        name="updateRoom",
        method="PATCH",
        path=_ROOM,
        summary="Changes metadata, lock and lobby of a room.",
        grant="admin",
        run=_update_room,
        body=schemas.UpdateRoom,
        answer=schemas.RoomInfo,
    ),
    Operation(
        name="deleteRoom",
        method="DELETE",
        path=_ROOM,
        summary="Closes a room and disconnects all participants.",
        grant="delete",
        run=_delete_room,
        status=204,
    ),
    Operation(
        name="listParticipants",
        method="GET",
        path=f"{_ROOM}/participants",
        summary="Lists all participants of a room, including hidden ones, and those in its lobby.",
        grant="admin",
        run=_list_participants,
        answer=schemas.ParticipantList,
    ),
    Operation(
        name="getParticipant",
        method="GET",
        path=_PARTICIPANT,
        summary="Returns a participant with its tracks, the layers sent to it with the reason, and its client statistics.",
        grant="admin",
        run=_view_participant,
        answer=schemas.ParticipantDetail,
    ),
    Operation(
        name="updateParticipant",
        method="PATCH",
        path=_PARTICIPANT,
        summary="Changes name, metadata, attributes and permissions of a participant.",
        grant="admin",
        run=_update_participant,
        body=schemas.UpdateParticipant,
        answer=schemas.ParticipantInfo,
    ),
    Operation(
        name="removeParticipant",
        method="DELETE",
        path=_PARTICIPANT,
        summary="Removes a participant from a room or its lobby and revokes its existing tokens.",
        grant="admin",
        run=_remove_participant,
        status=204,
        query=("reason",),
    ),
    Operation(
        name="muteTrack",
        method="POST",
        path=f"{_PARTICIPANT}/tracks/{{track}}/mute",
        summary="Mutes a track at the server until its owner unmutes it.",
        grant="admin",
        run=_mute,
        body=schemas.Mute,
        status=204,
    ),
    Operation(
        name="sendData",
        method="POST",
        path=f"{_ROOM}/data",
        summary="Sends application data to a room or to some of its participants.",
        grant="admin",
        run=_send_data,
        body=schemas.SendData,
        status=204,
    ),
    Operation(
        name="listTurnServers",
        method="GET",
        path=f"{PREFIX}/turn",
        summary="Lists the TURN servers with their health, in the order of the settings.",
        grant="list",
        run=_list_turn_servers,
        answer=schemas.TurnServerList,
    ),
)
