"""Events as JSON in the shape of LiveKit's `WebhookEvent`, so that its server SDKs parse them.

Source: livekit/protocol `livekit_webhook.proto`, `livekit_models.proto`, `livekit_egress.proto`, `livekit_ingress.proto` in the
JSON mapping of Protocol Buffers: camelCase, 64-bit integers as strings, enums by name, defaults omitted. Fields of our own are
`sequence`, `by`, `reason`, `recording` and those marked below; LiveKit's SDKs ignore unknown fields.
"""

from collections.abc import Mapping

import msgspec
from msgspec import Struct

from sfu.events.event import Content, EgressChanged, EventName, IngressChanged, RecordingChanged
from sfu.rooms.observer import Joined, Left, Moderated, Published, RoomClosed, RoomSummary, Unpublished
from sfu.rooms.state import ParticipantState, PublicationState, WaitingState

DISCONNECT_REASONS = {
    "left": "CLIENT_INITIATED",
    "duplicate_identity": "DUPLICATE_IDENTITY",
    "draining": "SERVER_SHUTDOWN",
    "kicked": "PARTICIPANT_REMOVED",
    "token_expired": "PARTICIPANT_REMOVED",
    "room_closed": "ROOM_DELETED",
    "timeout": "CONNECTION_TIMEOUT",
}
"""LiveKit's DisconnectReason by our reason; others are UNKNOWN_REASON."""


class _Json(Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    pass


class RoomJson(_Json, frozen=True, kw_only=True):
    sid: str
    name: str
    creation_time: str = ""
    creation_time_ms: str = ""
    metadata: str = ""
    num_participants: int = 0
    num_publishers: int = 0
    active_recording: bool = False
    locked: bool = False
    "Ours."
    lobby: bool = False
    "Ours."


class PermissionJson(_Json, frozen=True, kw_only=True):
    can_subscribe: bool = False
    can_publish: bool = False
    can_publish_data: bool = False
    can_publish_sources: list[str] = []
    hidden: bool = False
    recorder: bool = False
    can_update_metadata: bool = False
    admin: bool = False
    "Ours."


class LayerJson(_Json, frozen=True, kw_only=True):
    width: int = 0
    height: int = 0
    bitrate: int = 0
    rid: str = ""


class TrackJson(_Json, frozen=True, kw_only=True):
    sid: str
    type: str = ""
    name: str = ""
    muted: bool = False
    width: int = 0
    height: int = 0
    simulcast: bool = False
    source: str = ""
    layers: list[LayerJson] = []
    mime_type: str = ""


class ParticipantJson(_Json, frozen=True, kw_only=True):
    sid: str
    identity: str
    state: str = ""
    tracks: list[TrackJson] = []
    metadata: str = ""
    joined_at: str = ""
    joined_at_ms: str = ""
    name: str = ""
    permission: PermissionJson | None = None
    is_publisher: bool = False
    kind: str = ""
    attributes: Mapping[str, str] = {}
    disconnect_reason: str = ""


class EgressJson(_Json, frozen=True, kw_only=True):
    egress_id: str
    room_id: str = ""
    room_name: str = ""
    status: str = ""
    started_at: str = ""
    "Nanoseconds."
    updated_at: str = ""
    ended_at: str = ""
    error: str = ""
    outputs: list[str] = []
    "Ours."
    layout: str = ""
    "Ours."


class VideoJson(_Json, frozen=True, kw_only=True):
    mime_type: str = ""
    width: int = 0
    height: int = 0


class IngressStateJson(_Json, frozen=True, kw_only=True):
    status: str = ""
    error: str = ""
    video: VideoJson | None = None
    room_id: str = ""
    started_at: str = ""
    "Nanoseconds."
    ended_at: str = ""
    updated_at: str = ""
    warning: str = ""
    "Ours."


class IngressJson(_Json, frozen=True, kw_only=True):
    """Without the stream key."""

    ingress_id: str
    url: str = ""
    "Of a camera, without credentials and path."
    input_type: str = ""
    room_name: str = ""
    participant_identity: str = ""
    participant_name: str = ""
    reusable: bool
    state: IngressStateJson


class FileJson(_Json, frozen=True, kw_only=True):
    name: str
    size: int


class RecordingJson(_Json, frozen=True, kw_only=True):
    name: str
    room: str
    kind: str
    egress_id: str = ""
    started_at: float
    files: list[FileJson] = []


class EventJson(_Json, frozen=True, kw_only=True):
    event: str
    id: str
    created_at: str
    sequence: int
    room: RoomJson | None = None
    participant: ParticipantJson | None = None
    track: TrackJson | None = None
    egress_info: EgressJson | None = None
    ingress_info: IngressJson | None = None
    recording: RecordingJson | None = None
    by: str = ""
    reason: str = ""


_encoder = msgspec.json.Encoder()


def encode(
    name: EventName, identifier: str, sequence: int, at: float, content: Content, summary: RoomSummary | None
) -> bytes:
    """`at`: seconds since 1970."""
    participant, track, egress, ingress, recording, by, reason = None, None, None, None, None, "", ""
    match content:
        case Joined():
            participant = _participant(content.participant)
        case Left():
            reason = content.reason
            participant = _participant(content.participant, reason)
        case Published() | Unpublished():
            participant, track = _participant(content.participant), _track(content.publication)
        case Moderated():
            by = content.by
            match content.participant:
                case ParticipantState():
                    participant = _participant(content.participant)
                case WaitingState():
                    participant = _waiting(content.participant)
            track = _track(content.publication) if content.publication is not None else None
        case RoomClosed():
            reason = content.reason
        case EgressChanged():
            egress = _egress(content, at)
        case IngressChanged():
            ingress = _ingress(content, at)
        case RecordingChanged():
            recording = _recording(content)
    return _encoder.encode(
        EventJson(
            event=name,
            id=identifier,
            created_at=str(int(at)),
            sequence=sequence,
            room=_room(summary) if summary is not None else None,
            participant=participant,
            track=track,
            egress_info=egress,
            ingress_info=ingress,
            recording=recording,
            by=by,
            reason=reason,
        )
    )


def _room(summary: RoomSummary) -> RoomJson:
    state = summary.state
    return RoomJson(
        sid=state.id,
        name=state.name,
        creation_time=str(int(state.created_at)),
        creation_time_ms=str(int(state.created_at * 1000)),
        metadata=state.metadata,
        num_participants=summary.participants,
        num_publishers=summary.publishers,
        active_recording=state.egress.recording,
        locked=state.locked,
        lobby=state.lobby_enabled,
    )


def _participant(state: ParticipantState, reason: str = "") -> ParticipantJson:
    permissions = state.permissions
    return ParticipantJson(
        sid=state.id,
        identity=state.identity,
        state="DISCONNECTED" if reason else "ACTIVE",
        tracks=[_track(each) for each in state.publications],
        metadata=state.metadata,
        joined_at=str(int(state.joined_at)),
        joined_at_ms=str(int(state.joined_at * 1000)),
        name=state.name,
        permission=PermissionJson(
            can_subscribe=permissions.subscribe,
            can_publish=permissions.publish,
            can_publish_data=permissions.data,
            can_publish_sources=[each.upper() for each in permissions.sources],
            hidden=permissions.hidden,
            recorder=permissions.recorder,
            can_update_metadata=permissions.update_metadata,
            admin=permissions.admin,
        ),
        is_publisher=bool(state.publications),
        kind="EGRESS" if permissions.recorder else "INGRESS" if state.kind == "ingress" else "",
        attributes=state.attributes,
        disconnect_reason=DISCONNECT_REASONS.get(reason, "UNKNOWN_REASON") if reason else "",
    )


def _waiting(state: WaitingState) -> ParticipantJson:
    return ParticipantJson(sid=state.id, identity=state.identity, name=state.name)


def _track(state: PublicationState) -> TrackJson:
    description = state.description
    return TrackJson(
        sid=state.id,
        type=state.kind.upper(),
        name=description.name,
        muted=state.muted,
        width=description.width,
        height=description.height,
        simulcast=len(description.layers) > 1,
        source=description.source.upper(),
        layers=[
            LayerJson(width=each.width, height=each.height, bitrate=each.bitrate, rid=each.rid)
            for each in description.layers
        ],
        mime_type=f"{state.kind}/{state.codec}" if state.codec else "",
    )


def _egress(state: EgressChanged, at: float) -> EgressJson:
    return EgressJson(
        egress_id=state.id,
        room_id=state.room_id,
        room_name=state.room,
        status=state.status,
        started_at=_nanoseconds(state.started_at),
        updated_at=_nanoseconds(at),
        ended_at=_nanoseconds(state.ended_at),
        error=state.error,
        outputs=list(state.outputs),
        layout=state.layout,
    )


def _ingress(state: IngressChanged, at: float) -> IngressJson:
    video = VideoJson(mime_type=f"video/{state.codec}", width=state.width, height=state.height)
    return IngressJson(
        ingress_id=state.id,
        url=state.url,
        input_type="URL_INPUT" if state.url else "RTMP_INPUT",
        room_name=state.room,
        participant_identity=state.identity,
        participant_name=state.name,
        reusable=True,
        state=IngressStateJson(
            status=state.status,
            error=state.error,
            video=video if state.codec else None,
            room_id=state.room_id,
            started_at=_nanoseconds(state.started_at),
            ended_at=_nanoseconds(state.ended_at),
            updated_at=_nanoseconds(at),
            warning=state.warning,
        ),
    )


def _recording(state: RecordingChanged) -> RecordingJson:
    return RecordingJson(
        name=state.name,
        room=state.room,
        kind=state.kind,
        egress_id=state.egress_id,
        started_at=round(state.started_at, 3),
        files=[FileJson(name=name, size=size) for name, size in state.files],
    )


def _nanoseconds(seconds: float) -> str:
    return str(int(seconds * 1000) * 1_000_000) if seconds else ""
