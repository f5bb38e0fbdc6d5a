"""Translates values and events of rooms to message types and back."""

from collections.abc import Callable

from msgspec import UNSET

from sfu.forwarding.decision_log import DecisionEntry
from sfu.rooms import events
from sfu.rooms.egress_status import EgressStatus
from sfu.rooms.events import Delivery
from sfu.rooms.history import ChatEntry, DataEntry
from sfu.rooms.media_stats import VideoStats
from sfu.rooms.permissions import Permissions
from sfu.rooms.state import ParticipantState, PublicationState, RoomState, WaitingState
from sfu.rooms.track_description import LayerDescription, TrackDescription
from sfu.signaling import messages
from sfu.signaling.messages import Source

SOURCES: dict[str, Source] = {
    "camera": "camera",
    "microphone": "microphone",
    "screen_share": "screen_share",
    "screen_share_audio": "screen_share_audio",
    "unknown": "unknown",
}


def description_of(track: messages.TrackSpec) -> TrackDescription:
    return TrackDescription(
        source=track.source,
        name=track.name,
        width=track.width,
        height=track.height,
        layers=tuple(
            LayerDescription(
                rid=layer.rid, width=layer.width, height=layer.height, fps=layer.fps, bitrate=layer.bitrate
            )
            for layer in track.layers
        ),
    )


def track_state(publication: PublicationState) -> messages.TrackState:
    description = publication.description
    return messages.TrackState(
        id=publication.id,
        kind=publication.kind,
        source=description.source,
        name=description.name,
        muted=publication.muted,
        codec=publication.codec,
        width=description.width,
        height=description.height,
        layers=[
            messages.LayerSpec(
                rid=layer.rid, width=layer.width, height=layer.height, fps=layer.fps, bitrate=layer.bitrate
            )
            for layer in description.layers
        ],
    )


def participant_state(participant: ParticipantState, *, tracks: bool = True) -> messages.ParticipantState:
    return messages.ParticipantState(
        id=participant.id,
        identity=participant.identity,
        name=participant.name,
        metadata=participant.metadata,
        attributes=dict(participant.attributes),
        kind=participant.kind,
        admin=participant.permissions.admin,
        joined_at=participant.joined_at,
        tracks=[track_state(publication) for publication in participant.publications] if tracks else [],
    )


def permissions_state(permissions: Permissions) -> messages.Permissions:
    return messages.Permissions(
        publish=permissions.publish,
        subscribe=permissions.subscribe,
        data=permissions.data,
        admin=permissions.admin,
        # Clients cannot publish a source that the protocol does not know, so it can be left out. But an empty list would
        # mean "every source".
        sources=[SOURCES[source] for source in permissions.sources if source in SOURCES]
        or (["unknown"] if permissions.sources else []),
        record=permissions.record,
        egress=permissions.egress,
        update_metadata=UNSET if permissions.update_metadata else False,
    )


def room_state(room: RoomState) -> messages.RoomState:
    return messages.RoomState(
        name=room.name,
        id=room.id,
        metadata=room.metadata,
        locked=room.locked,
        lobby=room.lobby_enabled,
        created_at=room.created_at,
        egress=egress_state(room.egress),
    )


def egress_state(egress: EgressStatus) -> messages.EgressState:
    return messages.EgressState(
        live=egress.live,
        recording=egress.recording,
        layout=egress.layout,
        focus=egress.focus,
        since=egress.since,
        problem=egress.problem,
    )


def waiting_state(waiting: WaitingState) -> messages.WaitingParticipant:
    return messages.WaitingParticipant(participant=waiting.id, identity=waiting.identity, name=waiting.name)


def chat_state(entry: ChatEntry) -> messages.ChatEntry:
    return messages.ChatEntry(
        id=entry.id, participant=entry.participant, name=entry.name, text=entry.text, at=entry.at, to=entry.to
    )


def data_state(entry: DataEntry) -> messages.DataEntry:
    return messages.DataEntry(participant=entry.participant, topic=entry.topic, payload=entry.payload, at=entry.at)


def decision_state(entry: DecisionEntry, since_1970: float) -> messages.Decision:
    """`since_1970`: offset from monotonic seconds to seconds since 1970."""
    return messages.Decision(
        number=entry.number,
        at=round(entry.at + since_1970, 2),
        kind=entry.kind,
        cause=entry.cause,
        track=entry.track,
        before=round(entry.before, 4),
        after=round(entry.after, 4),
        rate=round(entry.rate),
    )


def video_state(video: VideoStats) -> messages.VideoState:
    return messages.VideoState(
        track=video.track,
        cause=video.cause,
        paused=video.paused,
        layer=video.layer,
        width=video.width,
        height=video.height,
        max_height=video.max_height,
        limitation=video.limitation,
    )


def _participant_joined(n: int, event: events.ParticipantJoined) -> messages.ServerMessage:
    return messages.ParticipantJoined(n=n, participant=participant_state(event.participant))


def _participant_left(n: int, event: events.ParticipantLeft) -> messages.ServerMessage:
    return messages.ParticipantLeft(n=n, participant=event.participant, reason=event.reason)


def _participant_updated(n: int, event: events.ParticipantUpdated) -> messages.ServerMessage:
    return messages.ParticipantUpdated(n=n, participant=participant_state(event.participant, tracks=False))


def _permissions_changed(n: int, event: events.PermissionsChanged) -> messages.ServerMessage:
    return messages.PermissionsChanged(n=n, permissions=permissions_state(event.permissions))


def _track_published(n: int, event: events.TrackPublished) -> messages.ServerMessage:
    publication = event.publication
    return messages.TrackPublished(n=n, participant=publication.owner, track=track_state(publication))


def _track_unpublished(n: int, event: events.TrackUnpublished) -> messages.ServerMessage:
    return messages.TrackUnpublished(n=n, participant=event.participant, track=event.track)


def _track_muted(n: int, event: events.TrackMuted) -> messages.ServerMessage:
    publication = event.publication
    return messages.TrackMuted(
        n=n, participant=publication.owner, track=publication.id, muted=publication.muted, by=event.by
    )


def _speakers(_: int, event: events.SpeakersChanged) -> messages.ServerMessage:
    levels = [messages.SpeakerLevel(participant=key, level=level) for key, level in event.speakers]
    return messages.Speakers(dominant=event.dominant, speakers=levels)


def _quality(_: int, event: events.QualityChanged) -> messages.ServerMessage:
    return messages.ConnectionQuality(
        participants={str(key): quality for key, quality in event.qualities.items()},
        rtt_ms=round(event.rtt * 1000, 1),
        loss=round(event.loss, 4),
    )


def _chat_sent(n: int, event: events.ChatSent) -> messages.ServerMessage:
    return messages.ChatMessage(n=n, entry=chat_state(event.entry))


def _data_sent(n: int, event: events.DataSent) -> messages.ServerMessage:
    return messages.DataMessage(n=n, entry=data_state(event.entry))


def _room_updated(n: int, event: events.RoomUpdated) -> messages.ServerMessage:
    return messages.RoomUpdated(n=n, room=room_state(event.room))


def _lobby_changed(n: int, event: events.LobbyChanged) -> messages.ServerMessage:
    return messages.LobbyChanged(n=n, waiting=[waiting_state(one) for one in event.waiting])


_MESSAGES: dict[type[events.Event], Callable[..., messages.ServerMessage]] = {
    events.ParticipantJoined: _participant_joined,
    events.ParticipantLeft: _participant_left,
    events.ParticipantUpdated: _participant_updated,
    events.PermissionsChanged: _permissions_changed,
    events.TrackPublished: _track_published,
    events.TrackUnpublished: _track_unpublished,
    events.TrackMuted: _track_muted,
    events.SpeakersChanged: _speakers,
    events.QualityChanged: _quality,
    events.ChatSent: _chat_sent,
    events.DataSent: _data_sent,
    events.RoomUpdated: _room_updated,
    events.LobbyChanged: _lobby_changed,
}


def event_message(delivery: Delivery) -> messages.ServerMessage:
    event = delivery.event
    return _MESSAGES[type(event)](delivery.number, event)
