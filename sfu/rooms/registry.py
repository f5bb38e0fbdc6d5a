"""All rooms of this process: made on first join, ended when idle, and the operator's doors into them.

A room that a token does not open and a room that does not exist are answered alike: `find` and `join` know one
sentence for both, and callers check a token's room before they ask.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from sfu.errors import AtCapacity, BadRequest, Conflict, NotFound
from sfu.ids import RoomName
from sfu.rooms.events import ParticipantSink
from sfu.rooms.lobby import WaitingParticipant
from sfu.rooms.participant import Participant, Profile
from sfu.rooms.permissions import Permissions
from sfu.rooms.room import Room
from sfu.rooms.settings import Settings

NAME_LIMIT = 128


@dataclass(slots=True)
class _Stay:
    """A room and how long it may be idle; `idle_since` is None while somebody is in."""

    room: Room
    idle_timeout: float
    idle_since: float | None = None


class Rooms:
    def __init__(self, settings: Settings, ids: Callable[[str], str], clock: Callable[[], float]) -> None:
        """`ids(prefix)` makes unguessable ids, `clock()` is seconds since 1970."""
        self.settings = settings
        self._ids = ids
        self._clock = clock
        self._stays: dict[RoomName, _Stay] = {}
        self.opened = 0
        """Rooms opened since the start."""

    def __len__(self) -> int:
        return len(self._stays)

    def list(self) -> list[Room]:
        return [stay.room for stay in self._stays.values()]

    def find(self, name: str) -> Room:
        """Raises NotFound."""
        stay = self._stays.get(RoomName(name))
        if stay is None:
            raise NotFound("There is no such room, or this token does not open it.")
        return stay.room

    def create(
        self,
        name: str,
        *,
        metadata: str = "",
        lobby: bool = False,
        idle_timeout: float | None = None,
        last_n: int | None = None,
        loudest: int | None = None,
    ) -> Room:
        """None: as the settings say. Raises Conflict when it is there already, AtCapacity, BadRequest."""
        if not 0 < len(name) <= NAME_LIMIT:
            raise BadRequest(f"A room's name has 1 to {NAME_LIMIT} characters.")
        if name in self._stays:
            raise Conflict("The room exists already.")
        if len(self._stays) >= self.settings.max_rooms:
            raise AtCapacity("This server has no place for another room.")
        settings = replace(
            self.settings,
            last_n=self.settings.last_n if last_n is None else last_n,
            loudest=self.settings.loudest if loudest is None else loudest,
        )
        room = Room(RoomName(name), settings, self._ids, self._clock)
        room.metadata = metadata
        room.lobby_enabled = lobby
        timeout = self.settings.idle_timeout if idle_timeout is None else idle_timeout
        self._stays[room.name] = _Stay(room, timeout)
        self.opened += 1
        return room

    def join(self, name: str, profile: Profile, sink: ParticipantSink) -> Participant | WaitingParticipant:
        """Into the room, making it if need be and allowed, or into its lobby. Raises RemoteErrors."""
        stay = self._stays.get(RoomName(name))
        if stay is not None:
            stay.idle_since = None
            return stay.room.join(profile, sink)
        if not (self.settings.create_on_join or profile.may_create):
            raise NotFound("There is no such room, or this token does not open it.")
        return self.create(name).join(profile, sink)

    def delete(self, name: str) -> None:
        self._end(self.find(name))

    def kick(self, name: str, identity: str, reason: str = "") -> None:
        room = self.find(name)
        waiting = room.lobby.find_by_identity(identity)
        room.moderation.kick(None, (waiting or self.participant(name, identity)).id, reason)

    def mute(self, name: str, track: str, muted: bool = True) -> None:
        self.find(name).moderation.mute(None, track, muted)

    def update(
        self, name: str, *, metadata: str | None = None, locked: bool | None = None, lobby: bool | None = None
    ) -> Room:
        """None: stays."""
        room = self.find(name)
        room.moderation.update(None, metadata=metadata, locked=locked, lobby=lobby)
        return room

    def participant(self, name: str, identity: str) -> Participant:
        """Raises NotFound."""
        found = self.find(name).members.find_by_identity(identity)
        if found is None:
            raise NotFound("This participant is not in the room.")
        return found

    def update_participant(
        self,
        name: str,
        identity: str,
        *,
        display_name: str | None = None,
        metadata: str | None = None,
        attributes: Mapping[str, str] | None = None,
    ) -> Participant:
        """None: stays; an attribute with an empty value is removed."""
        participant = self.participant(name, identity)
        participant.room.moderation.update_participant(
            participant, name=display_name, metadata=metadata, attributes=attributes, by=None
        )
        return participant

    def set_permissions(self, name: str, identity: str, permissions: Permissions) -> Participant:
        """Changes what somebody may do from now on."""
        participant = self.participant(name, identity)
        participant.room.moderation.set_permissions(participant, permissions)
        return participant

    def send_data(
        self, name: str, payload: str, *, topic: str = "", identities: Sequence[str] = (), keep: bool = False
    ) -> None:
        """To everybody, or to those named. Raises NotFound when none of them is there."""
        room = self.find(name)
        found = [room.members.find_by_identity(identity) for identity in identities]
        receivers = [one.id for one in found if one is not None]
        if identities and not receivers:
            raise NotFound("None of these participants is in the room.")
        room.messages.send_data(None, topic, payload, receivers, keep=keep)

    def observe_levels(self, now: float) -> bool:
        """Ten times a second while anything is heard anywhere (which it returns), less often otherwise."""
        heard = [stay.room.active_speakers.observe(now) for stay in self._stays.values()]
        return any(heard)

    def observe_quality(self) -> None:
        """Every second or two."""
        for stay in self._stays.values():
            stay.room.quality.observe()

    def handle_timer(self, now: float) -> None:
        """Ends rooms that were idle for too long. Every second or so; `now` is monotonic seconds."""
        for stay in list(self._stays.values()):
            if stay.room.occupied:
                stay.idle_since = None
            elif stay.idle_since is None:
                stay.idle_since = now
            if stay.idle_since is not None and now - stay.idle_since >= stay.idle_timeout:
                self._end(stay.room)

    def close(self) -> None:
        for room in self.list():
            self._end(room)

    def _end(self, room: Room) -> None:
        self._stays.pop(room.name, None)
        room.close()
