"""What admins may do to a room and to the others in it. `actor` None: an operator, through the admin API."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from sfu.errors import BadRequest, NotAuthorized, NotFound
from sfu.rooms.events import ParticipantUpdated, PermissionsChanged, RoomUpdated
from sfu.rooms.lobby import WaitingParticipant
from sfu.rooms.participant import Participant
from sfu.rooms.permissions import Permissions
from sfu.rooms.publication import Publication

if TYPE_CHECKING:
    from sfu.rooms.room import Room

ATTRIBUTE_LIMIT = 64
"""Attributes of one participant; everybody carries a copy of them."""


class Moderation:
    __slots__ = ("_room",)

    def __init__(self, room: Room) -> None:
        self._room = room

    def kick(self, actor: Participant | None, participant: str, reason: str = "") -> None:
        """Also one who waits. `reason` is for the person's eyes only."""
        _check_admin(actor)
        waiting = self._room.lobby.remove(participant)
        message = f"You were removed from the room: {reason}" if reason else "You were removed from the room."
        if waiting is not None:
            self._room.lobby_changed()
            waiting.sink.removed("kicked", message)
            return
        self._room.remove(self._present(participant), "kicked", message)

    def mute(self, actor: Participant | None, track: str, muted: bool) -> None:
        """One's own either way; admins mute those of others, and nobody opens another's microphone."""
        publication = self._room.publications.find(track)
        if actor is None or publication is None or publication.owner is not actor:
            _check_admin(actor)
            if not muted:
                raise NotAuthorized("Only the owner may unmute a track.")
        self._room.publications.mute(self._published(publication), muted, by=actor)

    def admit(self, actor: Participant | None, participant: str) -> None:
        _check_admin(actor)
        self._room.admit(self._taken(participant))

    def deny(self, actor: Participant | None, participant: str) -> None:
        _check_admin(actor)
        waiting = self._taken(participant)
        self._room.lobby_changed()
        waiting.sink.removed("denied", "You were not let in.")

    def update(
        self,
        actor: Participant | None,
        *,
        locked: bool | None = None,
        lobby: bool | None = None,
        metadata: str | None = None,
    ) -> None:
        """None: stays. Locking sends away who waits; ending the lobby admits them."""
        _check_admin(actor)
        room = self._room
        before = (room.locked, room.lobby_enabled, room.metadata)
        room.locked = room.locked if locked is None else locked
        room.lobby_enabled = room.lobby_enabled if lobby is None else lobby
        room.metadata = room.metadata if metadata is None else metadata
        if (room.locked, room.lobby_enabled, room.metadata) != before:
            room.members.broadcast(RoomUpdated(room))
        if room.locked and not before[0]:
            room.clear_lobby("room_locked", "The room was locked.")
        elif not room.lobby_enabled:
            for waiting in room.lobby:
                self.admit(actor, waiting.id)

    def set_permissions(self, participant: Participant, permissions: Permissions) -> None:
        """An operator changes what somebody may do; what is not allowed any more ends at once."""
        if permissions == participant.permissions:
            return
        was_hidden = participant.permissions.hidden
        if permissions.hidden != was_hidden:
            raise NotAuthorized("Whether somebody is hidden is decided at join.")
        seen_before = participant.permissions.admin
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
        self._room.members.send_to(PermissionsChanged(participant), participant)
        if permissions.admin != seen_before and not was_hidden:
            self._room.members.broadcast(ParticipantUpdated(participant))

    def update_participant(
        self,
        participant: Participant,
        *,
        name: str | None = None,
        metadata: str | None = None,
        attributes: Mapping[str, str] | None = None,
        by: Participant | None,
    ) -> None:
        """None: stays; an attribute with an empty value is removed. `by` gets no event; None: an operator.

        Raises NotAuthorized when somebody changes themselves who may not.
        """
        if by is participant and not participant.permissions.update_metadata:
            raise NotAuthorized("Your token does not allow changing your name, metadata or attributes.")
        before = (participant.name, participant.metadata, participant.attributes)
        merged = {key: value for key, value in (before[2] | dict(attributes or {})).items() if value}
        if len(merged) > ATTRIBUTE_LIMIT:
            raise BadRequest(f"A participant has at most {ATTRIBUTE_LIMIT} attributes.")
        participant.name = participant.name if name is None else name
        participant.metadata = participant.metadata if metadata is None else metadata
        participant.attributes = merged
        if before == (participant.name, participant.metadata, participant.attributes):
            return
        if participant.permissions.hidden:
            self._room.members.send_to(ParticipantUpdated(participant), *(() if by is participant else (participant,)))
        else:
            self._room.members.broadcast(ParticipantUpdated(participant), exclude=by)

    def _present(self, participant: str) -> Participant:
        found = self._room.members.find(participant)
        if found is None:
            raise NotFound("This participant is not in the room.")
        return found

    def _taken(self, participant: str) -> WaitingParticipant:
        waiting = self._room.lobby.remove(participant)
        if waiting is None:
            raise NotFound("Nobody with this id is waiting.")
        return waiting

    def _published(self, publication: Publication | None) -> Publication:
        if publication is None:
            raise NotFound("This track is not published.")
        return publication


def _check_admin(actor: Participant | None) -> None:
    if actor is not None and not actor.permissions.admin:
        raise NotAuthorized("Only an admin of the room may do this.")
