"""A room: who comes in, who goes, and the nouns that hold the rest (stage, conversation, moderation, boards).

Closing order: those who wait are sent away, then each participant, its publications first.
"""

from collections.abc import Callable

from sfu.errors import AtCapacity, Conflict
from sfu.ids import ParticipantId, RoomName
from sfu.rooms.active_speakers import ActiveSpeakers
from sfu.rooms.egress_status import EgressStatus
from sfu.rooms.events import (
    LeaveReason,
    LobbyChanged,
    ParticipantJoined,
    ParticipantLeft,
    ParticipantSink,
    RoomUpdated,
)
from sfu.rooms.last_n import LastN
from sfu.rooms.lobby import Lobby, WaitingParticipant
from sfu.rooms.members import Members
from sfu.rooms.messages import Messages
from sfu.rooms.moderation import Moderation
from sfu.rooms.participant import Participant, Profile
from sfu.rooms.publications import Publications
from sfu.rooms.quality import QualityMonitor
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
        self.lobby_enabled = False
        "New participants wait until an admin admits them."
        self.egress = EgressStatus()
        self.closed = False
        self.lobby = Lobby()
        self.members = Members()
        self.last_n = LastN(settings, self.members)
        self.publications = Publications(settings, self.members, self.last_n, ids)
        self.messages = Messages(settings, self.members, ids, clock)
        self.active_speakers = ActiveSpeakers(self.members, self.publications, self.last_n)
        self.quality = QualityMonitor(self.members)

    @property
    def moderation(self) -> Moderation:
        """Made when it is needed: it holds nothing but the room."""
        return Moderation(self)

    @property
    def occupied(self) -> bool:
        """Recorders do not keep a room open."""
        return bool(self.members.visible()) or len(self.lobby) > 0

    def join(self, profile: Profile, sink: ParticipantSink) -> Participant | WaitingParticipant:
        """Raises Conflict (`room_locked`) or AtCapacity. An older stay of the same identity ends."""
        older = self.members.find_by_identity(profile.identity)
        expected = older is not None or profile.permissions.bypasses_lobby
        if self.locked and not expected:
            raise Conflict("The room is locked; ask somebody inside to unlock it.", code="room_locked")
        full = self.members.participant_count >= self._settings.max_participants and not profile.permissions.recorder
        if older is None and full:
            raise AtCapacity("The room is full.", code="room_full")
        identifier = ParticipantId(self._ids("PA"))
        twin = self.lobby.find_by_identity(profile.identity)
        if twin is not None:
            self.lobby.remove(twin.id)
            twin.sink.removed("duplicate_identity", REPLACED)
        if self.lobby_enabled and not expected:
            if len(self.lobby) >= self._settings.max_waiting:
                raise AtCapacity("Too many people are waiting already.")
            waiting = WaitingParticipant(identifier, profile, self, sink)
            self.lobby.add(waiting)
            self.lobby_changed()
            return waiting
        if twin is not None:
            self.lobby_changed()
        if older is not None:
            self.remove(older, "duplicate_identity", REPLACED)
        return self._seat(identifier, profile, sink)

    def admit(self, waiting: WaitingParticipant) -> None:
        """One who was taken out of the lobby."""
        self.lobby_changed()
        if self.members.participant_count >= self._settings.max_participants:
            waiting.sink.removed("room_full", "The room is full.")
            return
        waiting.sink.admitted(self._seat(waiting.id, waiting.profile, waiting.sink))

    def leave_lobby(self, waiting: WaitingParticipant) -> None:
        """One who waits goes on its own."""
        if self.lobby.remove(waiting.id) is not None:
            self.lobby_changed()

    def leave(self, participant: Participant, reason: str = "left") -> None:
        """The participant goes by its own side's doing; its sink is not called. Idempotent."""
        if not self.members.remove(participant):
            return
        self.publications.clear(participant)
        participant.subscriptions.clear()
        self.quality.forget(participant)
        if not participant.permissions.hidden:
            self.members.broadcast(ParticipantLeft(participant.id, reason))

    def remove(self, participant: Participant, reason: LeaveReason, message: str) -> None:
        """The participant has to go, and is told."""
        if self.members.find(participant.id) is participant:
            self.leave(participant, reason)
            participant.sink.removed(reason, message)

    def lobby_changed(self) -> None:
        self.members.send_to_admins(LobbyChanged(tuple(self.lobby)))

    def clear_lobby(self, reason: LeaveReason, message: str) -> None:
        if len(self.lobby) == 0:
            return
        for waiting in self.lobby:
            self.lobby.remove(waiting.id)
            waiting.sink.removed(reason, message)
        self.lobby_changed()

    def set_egress_status(self, egress: EgressStatus) -> None:
        """What the room's programme is now, for everybody to see."""
        if egress != self.egress:
            self.egress = egress
            self.members.broadcast(RoomUpdated(self))

    def close(self, reason: LeaveReason = "room_closed", message: str = "The room was closed.") -> None:
        if self.closed:
            return
        self.closed = True
        self.clear_lobby(reason, message)
        for participant in self.members:
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
            subscriptions=Subscriptions(auto_subscribe=profile.auto_subscribe),
        )
        self.members.add(participant)
        self.publications.sync(participant)
        self.quality.sync(participant)
        if not participant.permissions.hidden:
            self.members.broadcast(ParticipantJoined(participant), exclude=participant)
        return participant
