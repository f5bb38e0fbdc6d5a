"""A room: who comes in, who goes, and the nouns that hold the rest (stage, conversation, moderation, boards).

Closing order: those who wait are sent away, then each participant, its publications first.
"""

from collections.abc import Callable

from sfu.errors import AtCapacity, Conflict
from sfu.ids import ParticipantId, RoomName
from sfu.rooms.events import (
    LeaveReason,
    LobbyChanged,
    ParticipantJoined,
    ParticipantLeft,
    ParticipantSink,
    RoomUpdated,
)
from sfu.rooms.last_n import Casting
from sfu.rooms.levels import LevelBoard
from sfu.rooms.lobby import Lobby, Waiting
from sfu.rooms.members import Audience
from sfu.rooms.messages import Conversation
from sfu.rooms.moderation import Moderation
from sfu.rooms.participant import Participant, Profile
from sfu.rooms.programme import Programme
from sfu.rooms.publications import Stage
from sfu.rooms.quality import QualityBoard
from sfu.rooms.settings import Settings
from sfu.rooms.subscriptions import Subscriptions

REPLACED = "You joined from somewhere else."


class Room:
    def __init__(
        self, name: RoomName, settings: Settings, ids: Callable[[str], str], clock: Callable[[], float]
    ) -> None:
        """`ids(prefix)` makes ids, `clock()` is seconds since 1970."""
        self._settings = settings
        self._ids = ids
        self._clock = clock
        self.name = name
        self.id = ids("RM")
        self.created_at = clock()
        self.metadata = ""
        self.locked = False
        self.lobby_open = False
        "New participants wait until an admin admits them."
        self.programme = Programme()
        self.closed = False
        self.lobby = Lobby()
        self.audience = Audience()
        self.casting = Casting(settings, self.audience)
        self.stage = Stage(settings, self.audience, self.casting, ids)
        self.conversation = Conversation(settings, self.audience, ids, clock)
        self.levels = LevelBoard(self.audience, self.stage, self.casting)
        self.quality = QualityBoard(self.audience)

    @property
    def moderation(self) -> Moderation:
        """Made when it is needed: it holds nothing but the room."""
        return Moderation(self)

    @property
    def occupied(self) -> bool:
        """Recorders do not keep a room open."""
        return bool(self.audience.visible()) or len(self.lobby) > 0

    def enter(self, profile: Profile, sink: ParticipantSink) -> Participant | Waiting:
        """Raises Conflict (`room_locked`) or AtCapacity. An older stay of the same identity ends."""
        older = self.audience.find_identity(profile.identity)
        expected = older is not None or profile.permissions.passes_doors
        if self.locked and not expected:
            raise Conflict("The room is locked; ask somebody inside to unlock it.", code="room_locked")
        full = self.audience.people >= self._settings.max_participants and not profile.permissions.recorder
        if older is None and full:
            raise AtCapacity("The room is full.", code="room_full")
        identifier = ParticipantId(self._ids("PA"))
        twin = self.lobby.find_identity(profile.identity)
        if twin is not None:
            self.lobby.take(twin.id)
            twin.sink.removed("duplicate_identity", REPLACED)
        if self.lobby_open and not expected:
            if len(self.lobby) >= self._settings.max_waiting:
                raise AtCapacity("Too many people are waiting already.")
            waiting = Waiting(identifier, profile, self, sink)
            self.lobby.add(waiting)
            self.lobby_changed()
            return waiting
        if twin is not None:
            self.lobby_changed()
        if older is not None:
            self.remove(older, "duplicate_identity", REPLACED)
        return self._seat(identifier, profile, sink)

    def admit(self, waiting: Waiting) -> None:
        """One who was taken out of the lobby."""
        self.lobby_changed()
        if self.audience.people >= self._settings.max_participants:
            waiting.sink.removed("room_full", "The room is full.")
            return
        waiting.sink.admitted(self._seat(waiting.id, waiting.profile, waiting.sink))

    def withdraw(self, waiting: Waiting) -> None:
        """One who waits goes on its own."""
        if self.lobby.take(waiting.id) is not None:
            self.lobby_changed()

    def leave(self, participant: Participant, reason: str = "left") -> None:
        """The participant goes by its own side's doing; its sink is not called. Idempotent."""
        if not self.audience.remove(participant):
            return
        self.stage.clear(participant)
        participant.subscriptions.clear()
        self.quality.forget(participant)
        if not participant.permissions.hidden:
            self.audience.broadcast(ParticipantLeft(participant.id, reason))

    def remove(self, participant: Participant, reason: LeaveReason, message: str) -> None:
        """The participant has to go, and is told."""
        if self.audience.find(participant.id) is participant:
            self.leave(participant, reason)
            participant.sink.removed(reason, message)

    def lobby_changed(self) -> None:
        self.audience.tell_admins(LobbyChanged(tuple(self.lobby)))

    def empty_lobby(self, reason: LeaveReason, message: str) -> None:
        if len(self.lobby) == 0:
            return
        for waiting in self.lobby:
            self.lobby.take(waiting.id)
            waiting.sink.removed(reason, message)
        self.lobby_changed()

    def show(self, programme: Programme) -> None:
        """What the room's programme is now, for everybody to see."""
        if programme != self.programme:
            self.programme = programme
            self.audience.broadcast(RoomUpdated(self))

    def close(self, reason: LeaveReason = "room_closed", message: str = "The room was closed.") -> None:
        if self.closed:
            return
        self.closed = True
        self.empty_lobby(reason, message)
        for participant in self.audience:
            self.remove(participant, reason, message)

    def _seat(self, identifier: ParticipantId, profile: Profile, sink: ParticipantSink) -> Participant:
        participant = Participant(
            id=identifier,
            identity=profile.identity,
            room=self,
            sink=sink,
            permissions=profile.permissions,
            name=profile.name,
            metadata=profile.metadata,
            attributes={key: value for key, value in profile.attributes.items() if value},
            joined_at=self._clock(),
            subscriptions=Subscriptions(auto=profile.auto_subscribe),
        )
        self.audience.add(participant)
        self.stage.welcome(participant)
        self.quality.welcome(participant)
        if not participant.permissions.hidden:
            self.audience.broadcast(ParticipantJoined(participant), but=participant)
        return participant
