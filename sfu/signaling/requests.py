"""Requests of a joined client. `HANDLERS` maps each message type to its function.

A function returns a reply, or None for a plain `ok`. A RemoteError becomes an `error` with the id of the request.
"""

from collections.abc import Callable
from typing import TypeVar

from msgspec import UnsetType

from sfu.errors import Conflict, NotAuthorized, NotFound
from sfu.ids import TrackId
from sfu.rooms.egress_status import LayoutName
from sfu.rooms.participant import Participant
from sfu.rooms.room import Room
from sfu.signaling import messages
from sfu.signaling.messages import ClientMessage
from sfu.signaling.publishing import Publishing
from sfu.signaling.session import Session
from sfu.signaling.subscribing import Subscribing

Reply = messages.ServerMessage | None
"""None: `ok`."""


Value = TypeVar("Value")


def _set(value: Value | UnsetType) -> Value | None:
    return None if isinstance(value, UnsetType) else value


def publish(session: Session, room: Room, participant: Participant, request: messages.Publish) -> Reply:
    began = session.last_received_at
    sdp, tracks = _publishing(session).negotiate(request.sdp, request.tracks)
    session.join_trace.published(began)
    return messages.Answer(id=request.id, sdp=sdp, tracks=tracks)


def unpublish(session: Session, room: Room, participant: Participant, request: messages.Unpublish) -> Reply:
    publications = room.publications
    publications.unpublish(publications.find_own(participant, request.track))
    return None


def mute(session: Session, room: Room, participant: Participant, request: messages.Mute) -> Reply:
    room.moderation.mute(participant, request.track, request.muted)
    return None


def answer(session: Session, room: Room, participant: Participant, request: messages.Answer) -> Reply:
    _subscribing(session).accept_answer(request.id, request.sdp)
    return None


def restart(session: Session, room: Room, participant: Participant, request: messages.IceRestart) -> Reply:
    _subscribing(session).restart()
    return None


def candidate(session: Session, room: Room, participant: Participant, request: messages.Candidate) -> Reply:
    """Ignored: an ICE-lite server sends no connectivity checks (RFC 8445 2.5)."""
    return None


def subscribe(session: Session, room: Room, participant: Participant, request: messages.Subscribe) -> Reply:
    publications = room.publications
    found = False
    for settings in request.tracks:
        publication = publications.find_subscribable(settings.track, participant)
        if publication is not None:
            found = True
            participant.subscriptions.update(
                publication,
                width=_set(settings.width),
                height=_set(settings.height),
                fps=_set(settings.fps),
                priority=_set(settings.priority),
                paused=_set(settings.paused),
            )
    if request.tracks and not found:
        raise NotFound("None of these tracks is published by another participant.")
    return None


def unsubscribe(session: Session, room: Room, participant: Participant, request: messages.Unsubscribe) -> Reply:
    for track in request.tracks:
        participant.subscriptions.unsubscribe(TrackId(track))
    return None


def chat(session: Session, room: Room, participant: Participant, request: messages.Chat) -> Reply:
    room.messages.send_chat(participant, request.text, request.to)
    return None


def data(session: Session, room: Room, participant: Participant, request: messages.Data) -> Reply:
    room.messages.send_data(participant, request.topic, request.payload, request.to, keep=request.keep)
    return None


def metadata(session: Session, room: Room, participant: Participant, request: messages.UpdateMetadata) -> Reply:
    room.moderation.update_participant(
        participant,
        name=_set(request.name),
        metadata=_set(request.metadata),
        attributes=request.attributes,
        by=participant,
    )
    return None


def update_room(session: Session, room: Room, participant: Participant, request: messages.UpdateRoom) -> Reply:
    room.moderation.update(
        participant, locked=_set(request.locked), lobby=_set(request.lobby), metadata=_set(request.metadata)
    )
    return None


def egress(session: Session, room: Room, participant: Participant, request: messages.UpdateEgress) -> Reply:
    live, recording = _set(request.live), _set(request.recording)
    layout: LayoutName | None = None if isinstance(request.layout, UnsetType) else request.layout
    focus = _set(request.focus)
    permissions = participant.permissions
    if live is not None and not permissions.egress:
        raise NotAuthorized("Your token does not allow starting or stopping a live stream.")
    if recording is not None and not permissions.record:
        raise NotAuthorized("Your token does not allow recording this room.")
    if not (permissions.egress or permissions.record):
        raise NotAuthorized("Your token does not allow changing the egress.")
    if session.egress_jobs is None:
        raise NotFound("Egress is disabled on this server.")
    if room.members.home is not None:
        raise Conflict("Another server decides about this room. Start and stop its egress with the API.")
    session.egress_jobs.change(room, live=live, recording=recording, layout=layout, focus=focus)
    return None


def kick(session: Session, room: Room, participant: Participant, request: messages.Kick) -> Reply:
    room.moderation.kick(participant, request.participant, request.reason)
    return None


def admit(session: Session, room: Room, participant: Participant, request: messages.Admit) -> Reply:
    room.moderation.admit(participant, request.participant)
    return None


def deny(session: Session, room: Room, participant: Participant, request: messages.Deny) -> Reply:
    room.moderation.deny(participant, request.participant)
    return None


def pong(session: Session, room: Room, participant: Participant, request: messages.Pong) -> Reply:
    """Nothing to do: every message resets the silence timer."""
    return None


def report(session: Session, room: Room, participant: Participant, request: messages.Report) -> Reply:
    if session.diagnostics is not None:
        session.diagnostics.receive(request, session.last_received_at)
    return None


def leave(session: Session, room: Room, participant: Participant, request: messages.ClientLeave) -> Reply:
    session.leave("left")
    return None


def join(session: Session, room: Room, participant: Participant, request: messages.Join) -> Reply:
    raise Conflict("This socket has joined already.")


HANDLERS: dict[type[ClientMessage], Callable[..., Reply]] = {
    messages.Join: join,
    messages.Publish: publish,
    messages.Unpublish: unpublish,
    messages.Mute: mute,
    messages.Answer: answer,
    messages.Candidate: candidate,
    messages.IceRestart: restart,
    messages.Subscribe: subscribe,
    messages.Unsubscribe: unsubscribe,
    messages.Chat: chat,
    messages.Data: data,
    messages.UpdateMetadata: metadata,
    messages.UpdateRoom: update_room,
    messages.UpdateEgress: egress,
    messages.Kick: kick,
    messages.Admit: admit,
    messages.Deny: deny,
    messages.Pong: pong,
    messages.Report: report,
    messages.ClientLeave: leave,
}


def needs_home(participant: Participant, request: ClientMessage) -> bool:
    """Whether only the home of the room may carry the request out: it decides about others, or enters the history.

    Own media, own mute and metadata, subscriptions, other data messages and leaving are local: they work also at a node that
    is cut off from its cluster.
    """
    kind = type(request)
    if kind in _DECISIONS:
        return True
    if isinstance(request, messages.Mute):
        return TrackId(request.track) not in participant.publications
    return isinstance(request, messages.Data) and request.keep


_DECISIONS = frozenset(
    {messages.Chat, messages.UpdateRoom, messages.UpdateEgress, messages.Kick, messages.Admit, messages.Deny}
)

UNANSWERED = (messages.Answer, messages.Candidate, messages.Pong, messages.Report, messages.ClientLeave)
"""Messages without a reply."""


def _publishing(session: Session) -> Publishing:
    if session.publishing is None:
        raise RuntimeError("the session has not joined")
    return session.publishing


def _subscribing(session: Session) -> Subscribing:
    if session.subscribing is None:
        raise RuntimeError("the session has not joined")
    return session.subscribing
