"""An edge's side of a mirrored room: its own participants are real, all others are shadows that follow the home."""

from collections.abc import Callable, Iterable
from dataclasses import replace

from sfu.ids import ParticipantId
from sfu.rooms.commands import Action
from sfu.rooms.events import (
    ChatSent,
    DataPacket,
    DataSent,
    Event,
    LobbyChanged,
    ParticipantJoined,
    ParticipantLeft,
    ParticipantUpdated,
    PermissionsChanged,
    QualityChanged,
    RoomUpdated,
    SpeakersChanged,
    TrackMuted,
    TrackPublished,
    TrackUnpublished,
)
from sfu.rooms.lobby import WaitingParticipant
from sfu.rooms.mirror.decide import decide
from sfu.rooms.mirror.joins import Joins
from sfu.rooms.mirror.messages import (
    Admitted,
    Applied,
    Attach,
    Decided,
    EdgeMessage,
    Enter,
    Entered,
    HomeMessage,
    LeaveLobby,
    Packet,
    Removed,
    State,
    Update,
    Waiting,
)
from sfu.rooms.mirror.reports import REPORTED, Commands, Reports, subject
from sfu.rooms.mirror.shadows import RelayedMedia, Shadows, ShadowSink
from sfu.rooms.participant import Participant, ParticipantSink, Profile
from sfu.rooms.permissions import Permissions
from sfu.rooms.room import Room
from sfu.rooms.snapshot import RoomSnapshot
from sfu.rooms.state import ParticipantState, RoomState, WaitingState

GONE = "You are no longer in the room."


class EdgeMirror:
    """Implements Mirror. `receive` gets the messages of the home in order; `send` delivers in order and does not call back.

    Create it with an empty room, or with the room of which this node is no longer the home. Then `attach`. The state of the
    home arrives as its first answer.
    """

    def __init__(self, room: Room, send: Callable[[EdgeMessage], None], media: RelayedMedia) -> None:
        self._room = room
        self._send = send
        self._shadows = Shadows(room, media)
        self._sink = ShadowSink(self._relay_data)
        self._joins = Joins()
        self._waiting: dict[ParticipantId, WaitingParticipant] = {}
        self._receiving = False
        "A message of the home is being applied: its events do not go back."
        self.reports = Reports()
        self._commands = Commands()
        self._packet: DataPacket | None = None
        self.synchronized = False
        "False: the state of the home has not arrived yet."
        room.members.add_mirror(self)
        room.members.home = self._command

    # -- own participants -------------------------------------------------------------------------------------------

    def reconnect(self, send: Callable[[EdgeMessage], None]) -> None:
        """The link is another one. Call `attach` next."""
        self._send = send

    def attach(self, merged: RoomSnapshot | None = None) -> None:
        """Starts the link, or starts it again after a lost message or with another home.

        `merged`: this node was the home of the room on the other side of a partition.
        """
        self.synchronized = False
        self.reports.clear()
        served = [one.state for one in self._room.members if not one.shadow]
        waiting = [Waiting(one.id, one.profile) for one in self._waiting.values()]
        for _, join in self._joins:
            if join.participant is not None:
                served.append(join.participant)
            elif join.waiting is not None:
                waiting.append(Waiting(join.waiting.id, join.profile))
        self._send(Attach(tuple(served), tuple(waiting), merged))
        for request, join in self._joins:
            if not join.answered:
                self._send(Enter(request, join.profile))
        for command in self._commands:
            self._send(command)

    def enter(self, request: int, profile: Profile) -> None:
        """Asks the home to let a client in. `take` is possible when `answered`."""
        self._joins.add(request, profile)
        self._send(Enter(request, profile))

    def answered(self, request: int) -> bool:
        join = self._joins.get(request)
        return join is None or join.answered

    def take(self, request: int, sink: ParticipantSink) -> Participant | WaitingParticipant:
        """Makes the client of an answered join a participant of this edge. Raises RemoteError when the home refused it."""
        join = self._joins.remove(request)
        if join is None:
            raise RuntimeError("there is no such join")
        if join.error is not None:
            raise join.error
        if join.waiting is not None:
            waiting = WaitingParticipant(join.waiting.id, join.profile, self._room.name, sink)
            self._waiting[waiting.id] = waiting
            self._room.lobby.add(waiting)
            return waiting
        if join.participant is None:
            raise RuntimeError("the home has not answered yet")
        return self._serve(join.participant, sink)

    @property
    def occupied(self) -> bool:
        """Whether this edge serves participants, or clients that wait or join."""
        served = any(not member.shadow for member in self._room.members)
        return served or bool(self._waiting) or len(self._joins) > 0

    def abandon(self, request: int) -> None:
        """The client of a join is gone. Idempotent."""
        join = self._joins.remove(request)
        if join is None:
            return
        if join.participant is not None:
            self._report(ParticipantLeft(join.participant.id, "left"))
        elif join.waiting is not None:
            self._send(LeaveLobby(join.waiting.id))

    @property
    def waiting(self) -> set[ParticipantId]:
        """Clients of this edge in the lobby."""
        return set(self._waiting)

    def left_lobby(self, waiting: WaitingParticipant) -> None:
        """Implements Mirror."""
        if self._waiting.pop(waiting.id, None) is not None:
            self._send(LeaveLobby(waiting.id))

    def promote(self) -> None:
        """This node becomes the home of the room. Participants of other nodes are away until their nodes attach;
        media of edges go on."""
        for member in self._room.members:
            if member.shadow:
                at_edge = bool(member.node)
                if not at_edge:
                    self._shadows.forget(member)
                self._room.lose_shadow(member, keep_media=at_edge)
        self._detach()
        for command in self._commands:
            actor = self._room.members.find(command.actor)
            if actor is not None:
                decide(self._room, actor, command.action)

    def close(self) -> None:
        """Ends the mirror: the room has no participants here."""
        self._detach()
        self._shadows.close()

    def _detach(self) -> None:
        self._room.members.remove_mirror(self)
        self._room.members.home = None

    def deliver(self, event: Event, receivers: Iterable[Participant] | None, exclude: Participant | None) -> None:
        """Implements Mirror."""
        if self._receiving or not isinstance(event, REPORTED):
            return
        member = self._room.members.find(subject(event))
        if member is None or not member.shadow:
            self._report(event)

    def _report(self, event: Event) -> None:
        if self.reports.add(event):
            self._send(Update(event))

    def _command(self, actor: Participant, action: Action) -> None:
        self._send(self._commands.add(actor, action))

    def _relay_data(self, packet: DataPacket, reliable: bool) -> None:
        if not self._receiving and packet is not self._packet:
            self._packet = packet
            self._send(Packet(packet, reliable))

    def _serve(self, state: ParticipantState, sink: ParticipantSink) -> Participant:
        self._receiving = True
        try:
            member = self._room.add_shadow(state, sink)
        finally:
            self._receiving = False
        member.shadow, member.node = False, ""
        self._room.publications.sync(member)
        self._room.quality.sync(member)
        return member

    # -- from the home ----------------------------------------------------------------------------------------------

    def receive(self, message: HomeMessage) -> None:
        self._receiving = True
        try:
            self._receive(message)
        finally:
            self._receiving = False
        self._shadows.close_ended()

    def _receive(self, message: HomeMessage) -> None:
        match message:
            case State():
                self._reconcile(message)
            case Decided(number):
                self._commands.decided(number)
            case Applied():
                self.reports.acknowledge()
            case Entered():
                self._entered(message)
            case Removed():
                self._removed(message)
            case Admitted(state):
                self._admitted(state)
            case Packet(packet, reliable):
                for member in self._room.members:
                    if not member.shadow:
                        member.sink.relay_data(packet, reliable=reliable)
            case Update() if self.synchronized:
                self._apply(message)

    def _reconcile(self, message: State) -> None:
        room, snapshot = self._room, message.room
        room.id, room.created_at = snapshot.state.id, snapshot.state.created_at
        listed = {state.id for state in snapshot.participants}
        for member in room.members:
            if member.id not in listed:
                if member.shadow:
                    room.leave(member, "left")
                else:
                    room.remove(member, "room_closed", GONE)
        for state in snapshot.participants:
            if state.id in self._joins.members():
                self._joins.update(state)
                continue
            known = room.members.find(state.id)
            if known is None:
                if not self._has_left(state.id):
                    self._add_shadow(state)
            elif known.shadow:
                self._shadows.reconcile(known, state)
            else:
                self._set_permissions(known, state.permissions)
        for _, join in self._joins:
            if join.participant is not None and join.participant.id not in listed:
                join.refuse(GONE, "room_closed")
        self._set_room(snapshot.state)
        read = {entry.id for entry in room.messages.history()[0]}
        room.messages.clear()
        room.messages.restore(snapshot.chat, snapshot.data)
        room.messages.announce_chat(entry for entry in snapshot.chat if entry.id not in read)
        self._set_lobby(message.waiting)
        self.synchronized = True

    def _has_left(self, participant: ParticipantId) -> bool:
        """An own participant left, and the home does not know it yet."""
        return self.reports.override(ParticipantLeft(participant, ""))

    def _entered(self, message: Entered) -> None:
        if self._joins.answer(message):
            return
        if message.participant is not None:
            self._report(ParticipantLeft(message.participant.id, "left"))
        elif message.waiting is not None:
            self._send(LeaveLobby(message.waiting.id))

    def _removed(self, message: Removed) -> None:
        waiting = self._waiting.pop(message.participant, None)
        member = self._room.members.find(message.participant)
        if waiting is not None:
            self._room.lobby.remove(waiting.id)
            waiting.sink.removed(message.reason, message.message)
        elif member is not None and not member.shadow:
            self._room.remove(member, message.reason, message.message)
        join = self._joins.find(message.participant)
        if join is not None:
            join.refuse(message.message, message.reason)

    def _admitted(self, state: ParticipantState) -> None:
        waiting = self._waiting.pop(state.id, None)
        if waiting is not None:
            self._room.lobby.remove(waiting.id)
            waiting.sink.admitted(self._serve(state, waiting.sink))
        self._joins.admit(state)

    def _apply(self, message: Update) -> None:
        room, event = self._room, message.event
        by = room.members.find(message.exclude)
        match event:
            case ParticipantJoined(state):
                known = room.members.find(state.id) is not None or state.id in self._joins.members()
                if not known and not self._has_left(state.id):
                    self._add_shadow(state)
            case ParticipantLeft(participant, reason):
                member = room.members.find(participant)
                if member is not None and member.shadow:
                    room.leave(member, reason)
            case ParticipantUpdated(state):
                member = room.members.find(state.id)
                if member is None:
                    self._joins.update(state)
                elif not self.reports.override(event):
                    self._shadows.describe(member, state, by)
            case PermissionsChanged(participant, permissions):
                member = room.members.find(participant)
                if member is not None:
                    self._set_permissions(member, permissions)
                self._joins.permit(participant, permissions)
            case TrackPublished(state):
                owner = room.members.find(state.owner)
                if owner is not None and owner.shadow:
                    self._shadows.publish(owner, state)
            case TrackUnpublished(participant, track):
                publication = room.publications.find(track)
                if publication is not None and publication.owner == participant:
                    owner = room.members.find(participant)
                    room.publications.unpublish(publication, notify_owner=owner is not None and not owner.shadow)
            case TrackMuted(state):
                publication = room.publications.find(state.id)
                if publication is not None and not self.reports.override(event):
                    room.publications.mute(publication, state.muted, by=by)
            case ChatSent(entry):
                room.messages.keep_chat(entry)
                self._pass_on(message, by)
            case DataSent(entry, kept):
                if kept:
                    room.messages.keep_data(entry)
                self._pass_on(message, by)
            case RoomUpdated(state):
                self._set_room(state)
            case LobbyChanged(waiting):
                self._set_lobby(waiting)
                room.members.send_to_admins(event)
            case SpeakersChanged() | QualityChanged():
                self._pass_on(message, by)

    def _pass_on(self, message: Update, exclude: Participant | None) -> None:
        if message.to is None:
            self._room.members.broadcast(message.event, exclude=exclude)
        else:
            found = map(self._room.members.find, message.to)
            self._room.members.send_to(message.event, *(one for one in found if one is not None))

    def _add_shadow(self, state: ParticipantState) -> None:
        previous = self._room.members.find_by_identity(state.identity)
        if previous is not None and previous.shadow:
            self._room.leave(previous, "duplicate_identity")
        elif previous is not None:
            self._room.remove(previous, "duplicate_identity", "You joined from somewhere else.")
        member = self._room.add_shadow(replace(state, publications=()), self._sink)
        self._shadows.reconcile(member, state)

    def _set_permissions(self, member: Participant, permissions: Permissions) -> None:
        """The home has ended what is not allowed any more, and announces it itself."""
        if permissions == member.permissions:
            return
        before, member.permissions = member.permissions, permissions
        if member.shadow:
            return
        if not permissions.subscribe:
            member.subscriptions.clear()
        elif not before.subscribe:
            self._room.publications.sync(member)
        self._room.last_n.sync(member)
        self._room.members.send_to(PermissionsChanged(member.id, permissions), member)

    def _set_room(self, state: RoomState) -> None:
        room = self._room
        if state != room.state:
            room.metadata, room.locked = state.metadata, state.locked
            room.lobby_enabled, room.egress = state.lobby_enabled, state.egress
            room.members.broadcast(RoomUpdated(room.state))

    def _set_lobby(self, waiting: Iterable[WaitingState]) -> None:
        lobby = self._room.lobby
        for known in lobby:
            lobby.remove(known.id)
        for state in waiting:
            own = self._waiting.get(state.id)
            profile = Profile(identity=state.identity, permissions=Permissions(), name=state.name)
            lobby.add(own or WaitingParticipant(state.id, profile, self._room.name, self._sink))
