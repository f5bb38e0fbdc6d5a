"""The home's side of one edge: its participants are shadows here, and it gets every event of the room."""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Set
from dataclasses import replace
from functools import partial

from sfu.errors import RemoteError
from sfu.ids import ParticipantId
from sfu.rooms.events import (
    ChatSent,
    DataPacket,
    DataSent,
    Event,
    LeaveReason,
    ParticipantJoined,
    ParticipantLeft,
    ParticipantUpdated,
    TrackMuted,
    TrackPublished,
    TrackUnpublished,
)
from sfu.rooms.lobby import WaitingParticipant
from sfu.rooms.mirror.decide import decide
from sfu.rooms.mirror.messages import (
    Admitted,
    Applied,
    Attach,
    Command,
    Decided,
    Detach,
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
from sfu.rooms.mirror.reports import subject
from sfu.rooms.mirror.shadows import RelayedMedia, Shadows, ShadowSink
from sfu.rooms.participant import Participant
from sfu.rooms.room import Room
from sfu.rooms.snapshot import RoomSnapshot
from sfu.rooms.state import ParticipantState

REMOVED_LIMIT = 1_000
"""Participants that were removed while the edge did not listen, newest last."""
REPLACED = "You joined from somewhere else."


class HomeMirror:
    """Implements Mirror. `receive` gets the messages of the edge in order; `send` delivers in order and does not call back.

    An edge is trusted with its own participants only: what it reports about others is ignored.
    """

    def __init__(
        self, room: Room, edge: str, send: Callable[[HomeMessage], None], media: RelayedMedia, idle_timeout: float
    ) -> None:
        self._room = room
        self.edge = edge
        "Id of the node."
        self._send = send
        self._shadows = Shadows(room, media)
        self._idle_timeout = idle_timeout
        self._served: dict[ParticipantId, Participant] = {}
        self._waiting: dict[ParticipantId, WaitingParticipant] = {}
        self._removed: OrderedDict[ParticipantId, Removed] = OrderedDict()
        self._reported: Event | None = None
        "The event of the edge that is being applied: it does not go back."
        self._entering = False
        self._decided = 0
        "Number of the newest command."
        self._packet: DataPacket | None = None
        self.ignored = 0
        "Reports about participants that the edge does not serve, and commands that the room refuses."

    def reconnect(self, send: Callable[[HomeMessage], None]) -> None:
        """The link is another one. Its first message is `Attach`."""
        self._send = send

    @property
    def served(self) -> int:
        return len(self._served)

    # -- from the edge ----------------------------------------------------------------------------------------------

    def receive(self, message: EdgeMessage) -> None:
        match message:
            case Attach():
                self._attach(message)
            case Detach():
                self.detach()
            case Enter():
                self._enter(message)
            case LeaveLobby():
                if (waiting := self._waiting.pop(message.participant, None)) is not None:
                    self._room.leave_lobby(waiting)
            case Command():
                self._decide(message)
            case Update():
                self._apply(message.event)
                self._send(Applied())
            case Packet():
                self._packet = message.packet
                sender = self._served.get(message.packet.sender)
                if sender is not None:
                    self._room.messages.relay_data(sender, message.packet, reliable=message.reliable)

    def detach(self) -> None:
        """The edge is gone or has no participant left. Those that it served are away until another node serves them."""
        self._room.members.remove_mirror(self)
        self._leave_lobby(set())
        for participant in list(self._served.values()):
            self._room.lose_shadow(participant)
        self._served.clear()
        self._shadows.close()

    def _attach(self, message: Attach) -> None:
        listed = {state.id for state in message.participants}
        for participant in list(self._served.values()):
            if participant.id not in listed:
                self._leave(participant, "left")
        self._leave_lobby({waiting.participant for waiting in message.waiting})
        self._room.members.remove_mirror(self)
        for state in message.participants:
            self._adopt(state)
        if message.merged is not None:
            self._merge(message.merged)
        self._room.members.add_mirror(self)
        for waiting in message.waiting:
            self._wait(waiting)
        self._send(State(self._room.snapshot(self._idle_timeout), tuple(one.state for one in self._room.lobby)))

    def _leave_lobby(self, remaining: Set[ParticipantId]) -> None:
        """Clients of the edge do not wait any more, except these."""
        for waiting in [one for one in self._waiting.values() if one.id not in remaining]:
            del self._waiting[waiting.id]
            self._room.leave_lobby(waiting)

    def _adopt(self, state: ParticipantState) -> None:
        """A participant that the edge serves already, e.g. for a home that is lost, or on the other side of a partition."""
        room = self._room
        if (removed := self._removed.get(state.id)) is not None:
            self._send(removed)
            return
        member = room.members.find(state.id)
        if member is None:
            other = room.members.find_by_identity(state.identity)
            if other is not None and other.joined_at >= state.joined_at:
                self._send(Removed(state.id, "duplicate_identity", REPLACED))
                return
            if other is not None:
                room.remove(other, "duplicate_identity", REPLACED)
            member = room.add_shadow(replace(state, node=self.edge, publications=()), self._sink(state.id))
        elif room.away.remove(state.id) is not None:
            member.shadow = True
            member.node = self.edge
            member.subscriptions.clear()
            member.sink = self._sink(state.id)
        elif state.id not in self._served:
            self._send(Removed(state.id, "moved", "You are connected through another server."))
            return
        self._served[state.id] = member
        self._shadows.reconcile(member, replace(state, permissions=member.permissions, node=self.edge))

    def _merge(self, other: RoomSnapshot) -> None:
        """The room had two homes during a partition. Chat of both sides stays, and a lock of either."""
        messages = self._room.messages
        messages.announce_chat(messages.merge_chat(other.chat))
        if other.state.locked and not self._room.locked:
            self._room.moderation.update(None, locked=True)

    def _wait(self, message: Waiting) -> None:
        """A client of the edge waited already when the link or the home was lost."""
        participant, room = message.participant, self._room
        if (removed := self._removed.get(participant)) is not None:
            self._send(removed)
            return
        if participant in self._waiting or participant in self._served:
            return
        sink = self._sink(participant)
        waiting = WaitingParticipant(participant, replace(message.profile, shadow_of=self.edge), room.name, sink)
        if room.locked:
            sink.removed("room_locked", "The room was locked.")
            return
        self._waiting[participant] = waiting
        room.lobby.add(waiting)
        if room.lobby_enabled:
            room.lobby_changed()
        else:
            room.lobby.remove(participant)
            room.admit(waiting)

    def _enter(self, message: Enter) -> None:
        holder: list[ParticipantId] = []
        sink = ShadowSink(
            self._relay_data,
            lambda reason, text: self._remove(holder[0], reason, text),
            self._admitted,
        )
        self._entering = True
        try:
            result = self._room.join(replace(message.profile, shadow_of=self.edge), sink)
        except RemoteError as error:
            self._send(Entered(message.request, code=error.code, message=error.message))
            return
        finally:
            self._entering = False
        holder.append(result.id)
        if isinstance(result, WaitingParticipant):
            self._waiting[result.id] = result
            self._send(Entered(message.request, waiting=result.state))
        else:
            self._served[result.id] = result
            self._send(Entered(message.request, participant=result.state))

    def _decide(self, message: Command) -> None:
        if message.number > self._decided:
            self._decided = message.number
            actor = self._served.get(message.actor)
            if actor is None or not decide(self._room, actor, message.action):
                self.ignored += 1
        self._send(Decided(message.number))

    def _apply(self, event: Event) -> None:
        """A participant of the edge did something itself."""
        owner = self._served.get(subject(event))
        if owner is None:
            self.ignored += 1
            return
        publications = self._room.publications
        self._reported = event
        try:
            match event:
                case ParticipantLeft(_, reason):
                    self._leave(owner, reason)
                case ParticipantUpdated(state):
                    self._shadows.describe(owner, _with_permissions(state, owner))
                case TrackPublished(state):
                    known = publications.find(state.id)
                    if owner.permissions.may_publish(state.description.source) and (
                        known is None or known.owner == owner.id
                    ):
                        self._shadows.publish(owner, state)
                    else:
                        self._send(Update(TrackUnpublished(owner.id, state.id)))
                case TrackUnpublished(_, track):
                    if (publication := owner.publications.get(track)) is not None:
                        publications.unpublish(publication)
                        self._shadows.close_ended()
                case TrackMuted(state):
                    if (publication := owner.publications.get(state.id)) is not None:
                        publications.mute(publication, state.muted, by=owner)
        finally:
            self._reported = None

    # -- to the edge ------------------------------------------------------------------------------------------------

    def deliver(self, event: Event, receivers: Iterable[Participant] | None, exclude: Participant | None) -> None:
        """Implements Mirror."""
        if self._reported is not None and subject(event) == subject(self._reported):
            return
        if self._entering and isinstance(event, ParticipantJoined):
            return
        to = None if receivers is None else tuple(one.id for one in receivers if one.id in self._served)
        if to is not None and not to and (event.transient or isinstance(event, ChatSent | DataSent)):
            return
        self._send(Update(event, to, exclude.id if exclude is not None else ""))

    def left_lobby(self, waiting: WaitingParticipant) -> None:
        """Implements Mirror: `lobby_changed` has told the edge."""

    def _relay_data(self, packet: DataPacket, reliable: bool) -> None:
        if packet is not self._packet:
            self._packet = packet
            self._send(Packet(packet, reliable))

    def _sink(self, participant: ParticipantId) -> ShadowSink:
        return ShadowSink(self._relay_data, partial(self._remove, participant), self._admitted)

    def _remove(self, participant: ParticipantId, reason: LeaveReason, message: str) -> None:
        self._served.pop(participant, None)
        self._waiting.pop(participant, None)
        member = self._room.members.find(participant)
        if member is not None:
            self._shadows.forget(member)
        removed = Removed(participant, reason, message)
        self._removed[participant] = removed
        while len(self._removed) > REMOVED_LIMIT:
            self._removed.popitem(last=False)
        self._shadows.close_ended()
        self._send(removed)

    def _admitted(self, participant: Participant) -> None:
        self._waiting.pop(participant.id, None)
        self._served[participant.id] = participant
        self._send(Admitted(participant.state))

    def _leave(self, participant: Participant, reason: str) -> None:
        self._served.pop(participant.id, None)
        self._room.leave(participant, reason)
        self._shadows.close_ended()


def _with_permissions(state: ParticipantState, member: Participant) -> ParticipantState:
    """The home decides about permissions."""
    return replace(state, permissions=member.permissions)
