"""What the admin API reads and writes, as types: the OpenAPI document is made from them and the server checks by them."""

from typing import Annotated

from msgspec import UNSET, Meta, Struct

from sfu.forwarding.decision_log import Cause
from sfu.rooms import Participant, Room
from sfu.rooms.lobby import WaitingParticipant as WaitingRecord
from sfu.rooms.media_stats import ClientReport, DownlinkStats, MediaStats, QualityLimitation
from sfu.rooms.publication import Publication
from sfu.signaling.messages import (
    Attributes,
    Decision,
    Identifier,
    LayerSpec,
    Metadata,
    Name,
    Permissions,
    Source,
    TrackState,
    VideoState,
    WaitingParticipant,
)
from sfu.signaling.serialization import decision_state, video_state


class Schema(Struct, frozen=True, kw_only=True):
    """Base of all: every field is always written."""


class RequestBody(Schema, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of bodies: a misspelt field is refused instead of ignored."""


class Problem(Schema, frozen=True, kw_only=True):
    """Every error."""

    code: str
    "A stable word for programs."
    message: str
    "One sentence for people."


class RoomInfo(Schema, frozen=True, kw_only=True):
    name: str
    id: str
    metadata: str
    locked: bool
    lobby: bool
    created_at: float
    participants: int
    waiting: int
    tracks: int


class RoomList(Schema, frozen=True, kw_only=True):
    rooms: list[RoomInfo]


class CreateRoom(RequestBody, frozen=True, kw_only=True):
    name: Identifier
    metadata: Metadata = ""
    lobby: bool = False
    idle_timeout: Annotated[float, Meta(ge=0, le=31_536_000)] | None = None
    last_n: Annotated[int, Meta(ge=0, le=10_000)] | None = None
    "Cameras that one participant is sent, 0: all; without it, as the settings say."
    loudest: Annotated[int, Meta(ge=0, le=10_000)] | None = None
    "Microphones that are sent, likewise."


class UpdateRoom(RequestBody, frozen=True, kw_only=True):
    """What is left out stays."""

    metadata: Metadata | None = None
    locked: bool | None = None
    lobby: bool | None = None


class ParticipantInfo(Schema, frozen=True, kw_only=True):
    id: str
    identity: str
    name: str
    metadata: str
    attributes: dict[str, str]
    joined_at: float
    hidden: bool
    recorder: bool
    permissions: Permissions
    tracks: list[TrackState]


class DownlinkInfo(Schema, frozen=True, kw_only=True):
    """The way to the participant, as the server estimates it."""

    estimate: float
    "Bits per second that it carries."
    rtt: float | None
    "Seconds."
    loss: float
    "0 to 1, over the last second."
    height: int
    "Lines that the rules of this server allow for one picture now."
    rule: Cause
    "By which of them: `estimate`, `delay` or `loss`."


class ClientReportInfo(Schema, frozen=True, kw_only=True):
    """What the participant's browser said last; not to be relied on. Seconds, and shares of 1, of the worst track."""

    age: float
    "Seconds since then."
    rtt: float
    jitter: float
    loss: float
    freezes: int
    frozen: float
    concealed: float
    limited: dict[str, QualityLimitation]
    "Own tracks of which the browser sends less than it should."


class ConnectionInfo(Schema, frozen=True, kw_only=True):
    """Why the participant's media are as they are."""

    path: DownlinkInfo | None
    "Null: no picture was sent yet, or the server makes no estimates."
    video_stats: list[VideoState]
    "Every video that it is subscribed to, with what is sent of it and why."
    report: ClientReportInfo | None
    events: list[Decision]
    "The newest, oldest first."


class ParticipantDetail(ParticipantInfo, frozen=True, kw_only=True):
    connection: ConnectionInfo | None
    "Null for what has no connection of its own, e.g. a recorder of this server."


class ParticipantList(Schema, frozen=True, kw_only=True):
    participants: list[ParticipantInfo]
    waiting: list[WaitingParticipant]


class UpdatePermissions(RequestBody, frozen=True, kw_only=True):
    """What is left out stays."""

    publish: bool | None = None
    subscribe: bool | None = None
    data: bool | None = None
    admin: bool | None = None
    sources: list[Source] | None = None
    update_metadata: bool | None = None
    "Its own name, metadata and attributes."


class UpdateParticipant(RequestBody, frozen=True, kw_only=True):
    """What is left out stays; an attribute with an empty value is removed."""

    name: Name | None = None
    metadata: Metadata | None = None
    attributes: Attributes | None = None
    permissions: UpdatePermissions | None = None


class Mute(RequestBody, frozen=True, kw_only=True):
    """A server mutes; only the owner unmutes."""

    muted: bool = True


class SendData(RequestBody, frozen=True, kw_only=True):
    payload: Annotated[str, Meta(max_length=32_768)]
    topic: Annotated[str, Meta(max_length=64)] = ""
    to: Annotated[list[Identifier], Meta(max_length=256)] = []
    "Identities; empty for everybody."
    keep: bool = False
    "Kept in the room's history for late joiners."


class Development(Schema, frozen=True, kw_only=True):
    dev: bool
    message: str
    "For the page to show; empty in production."


class DevelopmentTokenRequest(RequestBody, frozen=True, kw_only=True):
    room: Identifier
    identity: Annotated[str, Meta(max_length=128)] = ""
    name: Name = ""
    admin: bool | None = None
    "Left out: whoever comes to a room without an admin is one."


class DevelopmentToken(Schema, frozen=True, kw_only=True):
    token: str
    identity: str
    expires_at: float


def room_info(room: Room) -> RoomInfo:
    return RoomInfo(
        name=room.name,
        id=room.id,
        metadata=room.metadata,
        locked=room.locked,
        lobby=room.lobby_enabled,
        created_at=room.created_at,
        participants=room.members.participant_count,
        waiting=len(room.lobby),
        tracks=len(room.publications),
    )


def participant_info(participant: Participant) -> ParticipantInfo:
    permissions = participant.permissions
    return ParticipantInfo(
        id=participant.id,
        identity=participant.identity,
        name=participant.name,
        metadata=participant.metadata,
        attributes=dict(participant.attributes),
        joined_at=participant.joined_at,
        hidden=permissions.hidden,
        recorder=permissions.recorder,
        permissions=Permissions(
            publish=permissions.publish,
            subscribe=permissions.subscribe,
            data=permissions.data,
            admin=permissions.admin,
            sources=list(permissions.sources),  # type: ignore[arg-type]  # a token may name sources we do not know
            record=permissions.record,
            egress=permissions.egress,
            update_metadata=UNSET if permissions.update_metadata else False,
        ),
        tracks=[track_info(publication) for publication in participant.publications.values()],
    )


def participant_detail(participant: Participant, wall: float) -> ParticipantDetail:
    """`wall`: now, seconds since 1970."""
    shape = participant_info(participant)
    media_stats = participant.sink.media_stats()
    return ParticipantDetail(
        **{name: getattr(shape, name) for name in shape.__struct_fields__},
        connection=connection_info(media_stats, wall) if media_stats is not None else None,
    )


def connection_info(media_stats: MediaStats, wall: float) -> ConnectionInfo:
    report = media_stats.report
    return ConnectionInfo(
        path=_path_shape(media_stats.path) if media_stats.path is not None else None,
        video_stats=[video_state(picture) for picture in media_stats.video_stats],
        report=_report_shape(report, media_stats.at - report.at) if report is not None else None,
        events=[decision_state(entry, wall - media_stats.at) for entry in media_stats.entries],
    )


def _path_shape(path: DownlinkStats) -> DownlinkInfo:
    return DownlinkInfo(estimate=path.estimate, rtt=path.rtt, loss=path.loss, height=path.height, rule=path.rule)


def _report_shape(report: ClientReport, age: float) -> ClientReportInfo:
    return ClientReportInfo(
        age=round(age, 1),
        rtt=report.rtt,
        jitter=report.jitter,
        loss=report.loss,
        freezes=report.freezes,
        frozen=report.frozen,
        concealed=report.concealed,
        limited={str(track): reason for track, reason in report.limited.items()},
    )


def track_info(publication: Publication) -> TrackState:
    description = publication.description
    return TrackState(
        id=publication.id,
        kind=publication.media.kind,
        source=description.source,
        name=description.name,
        muted=publication.muted,
        codec=publication.media.codec,
        width=description.width,
        height=description.height,
        layers=[
            LayerSpec(rid=each.rid, width=each.width, height=each.height, fps=each.fps, bitrate=each.bitrate)
            for each in description.layers
        ],
    )


def waiting_info(waiting: WaitingRecord) -> WaitingParticipant:
    return WaitingParticipant(participant=waiting.id, identity=waiting.profile.identity, name=waiting.profile.name)
