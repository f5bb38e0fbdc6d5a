"""All rooms of this process. A room is created by the first join and closed when idle; operators act on it by name.

A missing room and a room that a token does not open yield the same error, so that names cannot be probed. Callers check
the token's room before they call.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from sfu.errors import AtCapacity, BadRequest, Conflict, NotFound
from sfu.ids import ParticipantId, RoomName
from sfu.rooms.lobby import WaitingParticipant
from sfu.rooms.observer import RoomObserver, RoomOpened
from sfu.rooms.participant import Participant, ParticipantSink, Profile
from sfu.rooms.permissions import Permissions
from sfu.rooms.room import Room
from sfu.rooms.settings import Settings
from sfu.rooms.snapshot import RoomSnapshot

NAME_LIMIT = 128
NO_SUCH_ROOM = "There is no such room, or this token does not open it."


@dataclass(slots=True)
class _Entry:
    """A room and its idle time. `idle_since` is None while the room is occupied."""

    room: Room
    idle_timeout: float
    idle_since: float | None = None
    restored: bool = False
    "Participants may still be away."
    mirrored: bool = False
    "Another node is the home of the room."


class Rooms:
    def __init__(
        self,
        settings: Settings,
        ids: Callable[[str], str],
        clock: Callable[[], float],
        observer: RoomObserver | None = None,
        changed: Callable[[RoomName], None] = lambda name: None,
    ) -> None:
        """`ids(prefix)` returns unguessable ids, `clock()` seconds since 1970. `changed` is called from within the methods
        of a room whenever a snapshot of it would differ; it does not call back."""
        self.settings = settings
        self._ids = ids
        self._clock = clock
        self._observer = observer
        self._changed = changed
        self._entries: dict[RoomName, _Entry] = {}
        self.opened = 0
        """Rooms created since the start."""
        self.restored = 0
        """Rooms taken over from other nodes since the start."""

    def __len__(self) -> int:
        return len(self._entries)

    def list(self) -> list[Room]:
        """Rooms whose home is this node."""
        return [entry.room for entry in self._entries.values() if not entry.mirrored]

    def names(self) -> set[str]:
        """Names of all rooms, mirrored ones included."""
        return {str(name) for name in self._entries}

    @property
    def participant_count(self) -> int:
        """Participants that this node serves, in its rooms and in mirrored ones, without hidden recorders."""
        return sum(entry.room.members.served_count for entry in self._entries.values())

    def idle_timeout(self, name: str) -> float:
        """Seconds. Raises NotFound."""
        return self._entries[self.find(name).name].idle_timeout

    def has(self, name: str) -> bool:
        return RoomName(name) in self._entries

    def find(self, name: str) -> Room:
        """Raises NotFound."""
        entry = self._entries.get(RoomName(name))
        if entry is None:
            raise NotFound(NO_SUCH_ROOM)
        return entry.room

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
        """None: the default of the settings. Raises Conflict when the room exists, AtCapacity or BadRequest."""
        if not 0 < len(name) <= NAME_LIMIT:
            raise BadRequest(f"A room's name has 1 to {NAME_LIMIT} characters.")
        if name in self._entries:
            raise Conflict("The room exists already.")
        if len(self._entries) >= self.settings.max_rooms:
            raise AtCapacity("This server cannot open another room.")
        settings = replace(
            self.settings,
            last_n=self.settings.last_n if last_n is None else last_n,
            loudest=self.settings.loudest if loudest is None else loudest,
        )
        room = Room(RoomName(name), settings, self._ids, self._clock, self._observer, self._changed)
        room.metadata = metadata
        room.lobby_enabled = lobby
        timeout = self.settings.idle_timeout if idle_timeout is None else idle_timeout
        self._entries[room.name] = _Entry(room, timeout)
        self.opened += 1
        room.members.observe(RoomOpened())
        return room

    def join(self, name: str, profile: Profile, sink: ParticipantSink) -> Participant | WaitingParticipant:
        """Joins the room or its lobby; creates the room if it is missing and creation is allowed. Raises RemoteErrors."""
        entry = self._entries.get(RoomName(name))
        if entry is not None:
            entry.idle_since = None
            return entry.room.join(profile, sink)
        if not (self.settings.create_on_join or profile.may_create):
            raise NotFound(NO_SUCH_ROOM)
        return self.create(name).join(profile, sink)

    def snapshot(self, name: str) -> RoomSnapshot:
        """Raises NotFound."""
        room = self.find(name)
        return room.snapshot(self._entries[room.name].idle_timeout)

    def restore(self, snapshot: RoomSnapshot) -> Room:
        """Continues a room whose node is gone. Raises Conflict when the room exists, AtCapacity.

        For the observer, the participants have not left and joined.
        """
        name = snapshot.state.name
        if name in self._entries:
            raise Conflict("The room exists already.")
        if len(self._entries) >= self.settings.max_rooms:
            raise AtCapacity("This server cannot open another room.")
        settings = replace(self.settings, last_n=snapshot.last_n, loudest=snapshot.loudest)
        room = Room(name, settings, self._ids, self._clock, self._observer, self._changed)
        room.restore(snapshot)
        self._entries[name] = _Entry(room, snapshot.idle_timeout, restored=True)
        self.restored += 1
        return room

    def mirror(self, name: str) -> Room:
        """An empty room whose home is another node. Raises Conflict when the room exists, AtCapacity."""
        if name in self._entries:
            raise Conflict("The room exists already.")
        if len(self._entries) >= self.settings.max_rooms:
            raise AtCapacity("This server cannot open another room.")
        room = Room(RoomName(name), self.settings, self._ids, self._clock)
        self._entries[room.name] = _Entry(room, self.settings.idle_timeout, mirrored=True)
        return room

    def promote(self, name: str) -> None:
        """This node becomes the home of a mirrored room."""
        entry = self._entries[RoomName(name)]
        entry.mirrored, entry.restored = False, True
        entry.room.observed_by(self._observer, self._changed)
        self.restored += 1

    def drop_mirror(self, name: str) -> None:
        """Forgets a mirrored room without participants of this node. Idempotent."""
        entry = self._entries.get(RoomName(name))
        if entry is not None and entry.mirrored:
            del self._entries[RoomName(name)]
            entry.room.close("moved", "The meeting continues on another server.")

    def await_return(self, name: str) -> None:
        """Participants of a home room are away: gives them `away_timeout` seconds to return."""
        entry = self._entries.get(RoomName(name))
        if entry is not None:
            entry.restored = True
            entry.room.away.until = None

    def take_back(self, name: str, identifier: ParticipantId, sink: ParticipantSink) -> Participant | None:
        """The client of a participant that is away returns. None: no such participant is away."""
        entry = self._entries.get(RoomName(name))
        return entry.room.take_back(identifier, sink) if entry is not None else None

    def delete(self, name: str) -> None:
        self._end(self.find(name))

    def move(self, name: str) -> None:
        """Another node continues the room: closes it here and asks its clients to resume there. Idempotent."""
        entry = self._entries.pop(RoomName(name), None)
        if entry is not None:
            entry.room.close("moved", "The meeting continues on another server.")

    def kick(self, name: str, identity: str, reason: str = "") -> None:
        room = self.find(name)
        waiting = room.lobby.find_by_identity(identity)
        room.moderation.kick(None, (waiting or self.participant(name, identity)).id, reason)

    def mute(self, name: str, track: str, muted: bool = True) -> None:
        self.find(name).moderation.mute(None, track, muted)

    def update(
        self, name: str, *, metadata: str | None = None, locked: bool | None = None, lobby: bool | None = None
    ) -> Room:
        """None: unchanged."""
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
        """None: unchanged; an attribute with an empty value is removed."""
        participant = self.participant(name, identity)
        self.find(name).moderation.update_participant(
            participant, name=display_name, metadata=metadata, attributes=attributes, by=None
        )
        return participant

    def set_permissions(self, name: str, identity: str, permissions: Permissions) -> Participant:
        participant = self.participant(name, identity)
        self.find(name).moderation.set_permissions(participant, permissions)
        return participant

    def send_data(
        self, name: str, payload: str, *, topic: str = "", identities: Sequence[str] = (), keep: bool = False
    ) -> None:
        """To all participants, or to those with these identities. Raises NotFound when none of them is in the room."""
        room = self.find(name)
        found = [room.members.find_by_identity(identity) for identity in identities]
        receivers = [one.id for one in found if one is not None]
        if identities and not receivers:
            raise NotFound("None of these participants is in the room.")
        room.messages.send_data(None, topic, payload, receivers, keep=keep)

    def observe_levels(self, now: float) -> bool:
        """Call it ten times a second while it returns True, which means that some room has audio; less often otherwise."""
        active = [entry.room.active_speakers.observe(now) for entry in self._entries.values()]
        return any(active)

    def observe_quality(self) -> None:
        """Call it every second or two."""
        for entry in self._entries.values():
            entry.room.quality.observe()

    def handle_timer(self, now: float) -> None:
        """Closes rooms that exceed their idle timeout. Call it about every second; `now` is monotonic seconds."""
        for entry in list(self._entries.values()):
            if entry.restored:
                entry.room.expire_away(now)
                entry.restored = entry.room.away.until is None or now < entry.room.away.until
            if entry.room.occupied or entry.mirrored:
                entry.idle_since = None
            elif entry.idle_since is None:
                entry.idle_since = now
            if entry.idle_since is not None and now - entry.idle_since >= entry.idle_timeout:
                self._end(entry.room)

    def close(self) -> None:
        for room in self.list():
            self._end(room)

    def _end(self, room: Room) -> None:
        self._entries.pop(room.name, None)
        room.close()
