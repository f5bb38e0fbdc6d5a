"""A room: joins, leaves and the lobby. Publications, messages and moderation have modules of their own.

Close order: waiting participants, then each participant with its publications first.
"""

from collections.abc import Callable
from functools import partial

from sfu.errors import AtCapacity, Conflict
from sfu.ids import ParticipantId, RoomName
from sfu.rooms.active_speakers import ActiveSpeakers
from sfu.rooms.away import AwayParticipants, AwaySink
from sfu.rooms.egress_status import EgressStatus
from sfu.rooms.events import (
    LeaveReason,
    LobbyChanged,
    ParticipantJoined,
    ParticipantLeft,
    RoomUpdated,
)
from sfu.rooms.last_n import LastN
from sfu.rooms.lobby import Lobby, WaitingParticipant
from sfu.rooms.members import Members
from sfu.rooms.messages import Messages
from sfu.rooms.moderation import Moderation
from sfu.rooms.observer import (
    Joined,
    Left,
    Moderated,
    Observation,
    RoomClosed,
    RoomMoved,
    RoomObserver,
    RoomRestored,
    RoomSummary,
)
from sfu.rooms.participant import Participant, ParticipantSink, Profile
from sfu.rooms.publications import Publications
from sfu.rooms.quality_monitor import QualityMonitor
from sfu.rooms.settings import Settings
from sfu.rooms.snapshot import RoomSnapshot
from sfu.rooms.state import ParticipantState, RoomState
from sfu.rooms.subscriptions import Subscriptions

REPLACED = "You joined from somewhere else."


class Room:
    def __init__(
        self,
        name: RoomName,
        settings: Settings,
        ids: Callable[[str], str],
        clock: Callable[[], float],
        observer: RoomObserver | None = None,
        changed: Callable[[RoomName], None] = lambda name: None,
    ) -> None:
        """`ids(prefix)` returns new ids, `clock()` seconds since 1970. `changed`: a snapshot of the room would differ."""
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
        self.moved = False
        "Another node continues the room."
        self.lobby = Lobby()
        self.away = AwayParticipants()
        self._observer = observer
        self.members = Members(self._observe, partial(changed, name))
        self.last_n = LastN(settings, self.members)
        self.publications = Publications(settings, self.members, self.last_n, ids)
        self.messages = Messages(settings, self.members, ids, clock)
        self.active_speakers = ActiveSpeakers(self.members, self.publications, self.last_n)
        self.quality = QualityMonitor(self.members)

    @property
    def moderation(self) -> Moderation:
        """Created on each access; it only refers to the room."""
        return Moderation(self)

    @property
    def occupied(self) -> bool:
        """Hidden participants, such as recorders, do not keep a room open."""
        return bool(self.members.visible()) or len(self.lobby) > 0

    @property
    def state(self) -> RoomState:
        return RoomState(
            self.name, self.id, self.metadata, self.locked, self.lobby_enabled, self.created_at, self.egress
        )

    def join(self, profile: Profile, sink: ParticipantSink) -> Participant | WaitingParticipant:
        """Removes an earlier participant of the same identity. Raises Conflict (`room_locked`) or AtCapacity."""
        previous = self.members.find_by_identity(profile.identity)
        bypass = previous is not None or profile.permissions.bypasses_lobby or profile.invited
        if self.locked and not bypass:
            raise Conflict("The room is locked. Ask a participant to unlock it.", code="room_locked")
        full = self.members.participant_count >= self._settings.max_participants and not profile.permissions.recorder
        if previous is None and full:
            raise AtCapacity("The room is full.", code="room_full")
        identifier = ParticipantId(self._ids("PA"))
        duplicate = self.lobby.find_by_identity(profile.identity)
        if duplicate is not None:
            self.lobby.remove(duplicate.id)
            duplicate.sink.removed("duplicate_identity", REPLACED)
        if self.lobby_enabled and not bypass:
            if len(self.lobby) >= self._settings.max_waiting:
                raise AtCapacity("The lobby is full.")
            waiting = WaitingParticipant(identifier, profile, self.name, sink)
            self.lobby.add(waiting)
            self.lobby_changed()
            self._observe(Moderated("participant_waiting", "", waiting.state))
            return waiting
        if duplicate is not None:
            self.lobby_changed()
        if previous is not None:
            self.remove(previous, "duplicate_identity", REPLACED)
        return self._add(identifier, profile, sink)

    def admit(self, waiting: WaitingParticipant) -> None:
        """Call it after removing `waiting` from the lobby."""
        self.lobby_changed()
        if self.members.participant_count >= self._settings.max_participants:
            waiting.sink.removed("room_full", "The room is full.")
            return
        waiting.sink.admitted(self._add(waiting.id, waiting.profile, waiting.sink))

    def leave_lobby(self, waiting: WaitingParticipant) -> None:
        """A waiting participant leaves on its own."""
        if self.lobby.remove(waiting.id) is not None:
            self.lobby_changed()
            for mirror in self.members.mirrors:
                mirror.left_lobby(waiting)

    def leave(self, participant: Participant, reason: str = "left") -> None:
        """The participant leaves on its own; its sink is not called. Idempotent."""
        if not self.members.remove(participant):
            return
        self.away.remove(participant.id)
        self.publications.clear(participant)
        participant.subscriptions.clear()
        self.quality.forget(participant)
        if participant.permissions.hidden:
            self.members.send_to(ParticipantLeft(participant.id, reason))  # mirrors only
        else:
            self.members.broadcast(ParticipantLeft(participant.id, reason))
        self._observe(Left(participant.state, reason))

    def snapshot(self, idle_timeout: float) -> RoomSnapshot:
        """The state from which `restore` on another node continues. Recorders are left out: they belong to this node."""
        chat, data = self.messages.history()
        return RoomSnapshot(
            state=self.state,
            number=self.members.number,
            participants=tuple(one.state for one in self.members if not one.permissions.recorder),
            chat=chat,
            data=data,
            last_n=self._settings.last_n,
            loudest=self._settings.loudest,
            idle_timeout=idle_timeout,
        )

    def restore(self, snapshot: RoomSnapshot) -> None:
        """Makes this new room the one of the snapshot. Its participants are away; its egress has ended with its node."""
        self.id = snapshot.state.id
        self.created_at = snapshot.state.created_at
        self.metadata = snapshot.state.metadata
        self.locked = snapshot.state.locked
        self.lobby_enabled = snapshot.state.lobby_enabled
        self.messages.restore(snapshot.chat, snapshot.data)
        for state in snapshot.participants:
            participant = self._restored(state)
            self.members.add(participant)
            self.away.add(participant)
        for state in snapshot.participants:
            owner = self.members.find(state.id)
            if owner is not None:
                for publication in state.publications:
                    self.publications.restore(owner, publication)
        for participant in self.members:
            self.publications.sync(participant)
        self.members.number = snapshot.number
        self._observe(RoomRestored(tuple(participant.state for participant in self.members)))

    def add_shadow(self, state: ParticipantState, sink: ParticipantSink) -> Participant:
        """Adds a participant that another node serves, without its publications."""
        participant = self._restored(state)
        participant.shadow, participant.node = True, state.node
        participant.sink = sink
        self.members.add(participant)
        self.last_n.sync(participant)
        if not participant.permissions.hidden:
            self.members.broadcast(ParticipantJoined(participant.state), exclude=participant)
        self._observe(Joined(participant.state))
        return participant

    def lose_shadow(self, participant: Participant, *, keep_media: bool = False) -> None:
        """The node that serves a shadow participant is gone, or its link: the participant is away."""
        participant.shadow, participant.node = False, ""
        participant.sink = AwaySink()
        if not keep_media:
            for publication in participant.publications.values():
                self.publications.unbind(publication)
        self.publications.sync(participant)
        self.away.add(participant)

    def take_back(self, identifier: ParticipantId, sink: ParticipantSink) -> Participant | None:
        """The client of a participant that is away returns, or the client of a shadow participant moves here. None: this
        node serves the participant, or there is none."""
        member = self.members.find(identifier)
        if member is not None and member.shadow and self.members.home is None:
            member.sink.removed("moved", "You are connected through another server.")
            self.lose_shadow(member)
        participant = self.away.remove(identifier)
        if participant is not None:
            participant.sink = sink
            self.quality.sync(participant)
        return participant

    def expire_away(self, now: float) -> None:
        """Removes participants that are away too long, and publications without media. `now`: monotonic seconds."""
        if self.away.until is None:
            self.away.until = now + self._settings.away_timeout
        elif now >= self.away.until:
            for participant in self.away:
                self.leave(participant, "timeout")
            self.publications.drop_unbound()

    def remove(self, participant: Participant, reason: LeaveReason, message: str) -> None:
        """Removes the participant and notifies its sink."""
        if self.members.find(participant.id) is participant:
            self.leave(participant, reason)
            participant.sink.removed(reason, message)

    def lobby_changed(self) -> None:
        self.members.send_to_admins(LobbyChanged(tuple(waiting.state for waiting in self.lobby)))

    def clear_lobby(self, reason: LeaveReason, message: str) -> None:
        if len(self.lobby) == 0:
            return
        for waiting in self.lobby:
            self.lobby.remove(waiting.id)
            waiting.sink.removed(reason, message)
        self.lobby_changed()

    def set_egress_status(self, egress: EgressStatus) -> None:
        """Stores the status and broadcasts a change."""
        if egress != self.egress:
            self.egress = egress
            self.members.broadcast(RoomUpdated(self.state))

    def observed_by(self, observer: RoomObserver | None, changed: Callable[[RoomName], None]) -> None:
        """This node becomes the home of a mirrored room."""
        self._observer = observer
        self.members.changed = partial(changed, self.name)
        self._observe(RoomRestored(tuple(participant.state for participant in self.members)))
        self.members.changed()

    def close(self, reason: LeaveReason = "room_closed", message: str = "The room was closed.") -> None:
        if self.closed:
            return
        self.closed = True
        if reason == "moved":
            self.moved = True
            self._observe(RoomMoved())
            # No one leaves. Edges attach to the next home with the participants that they serve.
            self._observer = None
            self.members.mirrors = ()
        self.clear_lobby(reason, message)
        for participant in sorted(self.members, key=lambda one: one.shadow):
            if reason == "moved" and participant.shadow:
                self.leave(participant, reason)
            else:
                self.remove(participant, reason, message)
        self._observe(RoomClosed(reason))

    def _observe(self, observation: Observation) -> None:
        if self._observer is not None:
            publishers = sum(bool(one.publications) for one in self.members)
            self._observer(RoomSummary(self.state, self.members.participant_count, publishers), observation)

    def _restored(self, state: ParticipantState) -> Participant:
        return Participant(
            id=state.id,
            identity=state.identity,
            room=self.name,
            sink=AwaySink(),
            permissions=state.permissions,
            name=state.name,
            metadata=state.metadata,
            attributes=state.attributes,
            joined_at=state.joined_at,
            subscriptions=Subscriptions(auto_subscribe=state.auto_subscribe),
            kind=state.kind,
        )

    def _add(self, identifier: ParticipantId, profile: Profile, sink: ParticipantSink) -> Participant:
        participant = Participant(
            id=identifier,
            identity=profile.identity,
            room=self.name,
            sink=sink,
            permissions=profile.permissions,
            name=profile.name,
            metadata=profile.metadata,
            attributes={key: value for key, value in profile.attributes.items() if value},
            joined_at=self._clock(),
            subscriptions=Subscriptions(auto_subscribe=profile.auto_subscribe),
            kind=profile.kind,
            shadow=bool(profile.shadow_of),
            node=profile.shadow_of,
        )
        self.members.add(participant)
        self.publications.sync(participant)
        self.quality.sync(participant)
        if not participant.permissions.hidden:
            self.members.broadcast(ParticipantJoined(participant.state), exclude=participant)
        self._observe(Joined(participant.state))
        return participant
