"""Operations of admins on a room and its participants. `actor` None: an operator, through the admin API."""

from collections.abc import Mapping
from typing import Protocol

from sfu.errors import BadRequest, NotAuthorized, NotFound
from sfu.rooms.commands import Action, Admit, Deny, Kick, MuteTrack, UpdateRoom
from sfu.rooms.events import LeaveReason, ParticipantUpdated, PermissionsChanged, RoomUpdated
from sfu.rooms.last_n import LastN
from sfu.rooms.lobby import Lobby, WaitingParticipant
from sfu.rooms.members import Members
from sfu.rooms.observer import Moderated
from sfu.rooms.participant import Participant
from sfu.rooms.permissions import Permissions
from sfu.rooms.publication import Publication
from sfu.rooms.publications import Publications
from sfu.rooms.state import RoomState

ATTRIBUTE_LIMIT = 64
"""Attributes of one participant. Every other participant stores a copy of them."""


class ModeratedRoom(Protocol):
    """The part of a room that moderation uses; `Room` implements it."""

    locked: bool
    lobby_enabled: bool
    metadata: str

    @property
    def lobby(self) -> Lobby: ...

    @property
    def members(self) -> Members: ...

    @property
    def publications(self) -> Publications: ...

    @property
    def last_n(self) -> LastN: ...

    @property
    def state(self) -> RoomState: ...

    def admit(self, waiting: WaitingParticipant) -> None: ...

    def remove(self, participant: Participant, reason: LeaveReason, message: str) -> None: ...

    def lobby_changed(self) -> None: ...

    def clear_lobby(self, reason: LeaveReason, message: str) -> None: ...


class Moderation:
    __slots__ = ("_room",)

    def __init__(self, room: ModeratedRoom) -> None:
        self._room = room

    def kick(self, actor: Participant | None, participant: str, reason: str = "") -> None:
        """Removes a participant from the room or from its lobby. Only that participant sees `reason`."""
        _check_admin(actor)
        if self._sent_home(actor, Kick(participant, reason)):
            return
        waiting = self._room.lobby.remove(participant)
        message = f"You were removed from the room: {reason}" if reason else "You were removed from the room."
        if waiting is not None:
            self._room.lobby_changed()
            waiting.sink.removed("kicked", message)
            self._room.members.observe(Moderated("participant_removed", _identity(actor), waiting.state))
            return
        member = self._member(participant)
        self._room.members.observe(Moderated("participant_removed", _identity(actor), member.state))
        self._room.remove(member, "kicked", message)

    def mute(self, actor: Participant | None, track: str, muted: bool) -> None:
        """Owners mute and unmute their own tracks. Admins mute the tracks of others and cannot unmute them."""
        publication = self._room.publications.find(track)
        if actor is None or publication is None or publication.owner != actor.id:
            _check_admin(actor)
            if not muted:
                raise NotAuthorized("Only the owner may unmute a track.")
            if self._sent_home(actor, MuteTrack(self._published(publication).id, muted)):
                return
        self._room.publications.mute(self._published(publication), muted, by=actor)

    def admit(self, actor: Participant | None, participant: str) -> None:
        _check_admin(actor)
        if self._sent_home(actor, Admit(participant)):
            return
        waiting = self._take_waiting(participant)
        self._room.members.observe(Moderated("participant_admitted", _identity(actor), waiting.state))
        self._room.admit(waiting)

    def deny(self, actor: Participant | None, participant: str) -> None:
        _check_admin(actor)
        if self._sent_home(actor, Deny(participant)):
            return
        waiting = self._take_waiting(participant)
        self._room.lobby_changed()
        waiting.sink.removed("denied", "You were not let in.")
        self._room.members.observe(Moderated("participant_denied", _identity(actor), waiting.state))

    def update(
        self,
        actor: Participant | None,
        *,
        locked: bool | None = None,
        lobby: bool | None = None,
        metadata: str | None = None,
    ) -> None:
        """None: unchanged. Locking removes all waiting participants; disabling the lobby admits them."""
        _check_admin(actor)
        if self._sent_home(actor, UpdateRoom(locked, lobby, metadata)):
            return
        room = self._room
        before = (room.locked, room.lobby_enabled, room.metadata)
        room.locked = room.locked if locked is None else locked
        room.lobby_enabled = room.lobby_enabled if lobby is None else lobby
        room.metadata = room.metadata if metadata is None else metadata
        if (room.locked, room.lobby_enabled, room.metadata) != before:
            room.members.broadcast(RoomUpdated(room.state))
            room.members.observe(Moderated("room_updated", _identity(actor)))
        if room.locked and not before[0]:
            room.clear_lobby("room_locked", "The room was locked.")
        elif not room.lobby_enabled:
            for waiting in room.lobby:
                self.admit(actor, waiting.id)

    def set_permissions(self, participant: Participant, permissions: Permissions) -> None:
        """Changes permissions by an operator. Publications and subscriptions that are no longer allowed end at once."""
        if permissions == participant.permissions:
            return
        was_hidden = participant.permissions.hidden
        if permissions.hidden != was_hidden:
            raise NotAuthorized("The hidden permission cannot change after the join.")
        was_admin = participant.permissions.admin
        could_subscribe = participant.permissions.subscribe
        participant.permissions = permissions
        for publication in list(participant.publications.values()):
            if not permissions.may_publish(publication.description.source):
                self._room.publications.unpublish(publication, notify_owner=True)
        if not permissions.subscribe:
            participant.subscriptions.clear()
        elif not could_subscribe:
            self._room.publications.sync(participant)
        self._room.last_n.sync(participant)
        self._room.members.send_to(PermissionsChanged(participant.id, permissions), participant)
        if permissions.admin != was_admin and not was_hidden:
            self._room.members.broadcast(ParticipantUpdated(participant.state))
        self._room.members.observe(Moderated("participant_permissions_changed", "", participant.state))

    def update_participant(
        self,
        participant: Participant,
        *,
        name: str | None = None,
        metadata: str | None = None,
        attributes: Mapping[str, str] | None = None,
        by: Participant | None,
    ) -> None:
        """None: unchanged; an attribute with an empty value is removed. `by` gets no event; None: an operator.

        Raises NotAuthorized when a participant may not change its own fields, BadRequest for too many attributes.
        """
        if by is participant and not participant.permissions.update_metadata:
            raise NotAuthorized("Your token does not allow changing your name, metadata or attributes.")
        before = (participant.name, participant.metadata, participant.attributes)
        merged = {key: value for key, value in {**before[2], **(attributes or {})}.items() if value}
        if len(merged) > ATTRIBUTE_LIMIT:
            raise BadRequest(f"A participant has at most {ATTRIBUTE_LIMIT} attributes.")
        participant.name = participant.name if name is None else name
        participant.metadata = participant.metadata if metadata is None else metadata
        participant.attributes = merged
        if before == (participant.name, participant.metadata, participant.attributes):
            return
        event = ParticipantUpdated(participant.state)
        if participant.permissions.hidden:
            self._room.members.send_to(event, *(() if by is participant else (participant,)))
        else:
            self._room.members.broadcast(event, exclude=by)

    def _sent_home(self, actor: Participant | None, action: Action) -> bool:
        """True: another node decides, and the command is on its way to it."""
        home = self._room.members.home
        if actor is None or home is None:
            return False
        home(actor, action)
        return True

    def _member(self, participant: str) -> Participant:
        found = self._room.members.find(participant)
        if found is None:
            raise NotFound("This participant is not in the room.")
        return found

    def _take_waiting(self, participant: str) -> WaitingParticipant:
        waiting = self._room.lobby.remove(participant)
        if waiting is None:
            raise NotFound("No participant with this id is waiting.")
        return waiting

    def _published(self, publication: Publication | None) -> Publication:
        if publication is None:
            raise NotFound("This track is not published.")
        return publication


def _identity(actor: Participant | None) -> str:
    return actor.identity if actor is not None else ""


def _check_admin(actor: Participant | None) -> None:
    if actor is not None and not actor.permissions.admin:
        raise NotAuthorized("Only an admin of the room may do this.")
