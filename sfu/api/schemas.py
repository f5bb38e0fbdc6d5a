"""Request and response bodies of the admin API. They validate requests and define the OpenAPI schemas."""

from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct

from sfu.auth.turn_health import TurnStatus
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
    """Base class. Responses always contain every field."""


class RequestBody(Schema, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base class of request bodies. Unknown fields are errors, so that misspelt names are detected."""


class Problem(Schema, frozen=True, kw_only=True):
    """Body of every error response."""

    code: str
    "Stable identifier for programs."
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
    "Number of cameras forwarded to each participant; 0: all. Omitted: `rooms.last_n`."
    loudest: Annotated[int, Meta(ge=0, le=10_000)] | None = None
    "Number of microphones forwarded; 0: all. Omitted: `rooms.loudest`."


class UpdateRoom(RequestBody, frozen=True, kw_only=True):
    """Omitted fields stay unchanged."""

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
    kind: Literal["standard", "ingress"]
    hidden: bool
    recorder: bool
    permissions: Permissions
    tracks: list[TrackState]


class DownlinkInfo(Schema, frozen=True, kw_only=True):
    """The server's estimate of the participant's downlink."""

    estimate: float
    "Bits per second."
    rtt: float | None
    "Seconds."
    loss: float
    "Fraction of lost packets over the last second."
    height: int
    "Maximum video height that the quality tiers currently allow, in pixels."
    rule: Cause
    "The cause of this limit: `estimate`, `delay` or `loss`."
    transport: str
    "`udp`, or `tcp` if the client's network blocks UDP. A TURN server reaches this server by `udp`."


class ClientReportInfo(Schema, frozen=True, kw_only=True):
    """The last client statistics: unverified values of the worst track, in seconds or as fractions."""

    age: float
    "Seconds since the report."
    rtt: float
    jitter: float
    loss: float
    freezes: int
    frozen: float
    concealed: float
    limited: dict[str, QualityLimitation]
    "Published tracks that the browser sends with reduced quality, with the reason."


class ConnectionInfo(Schema, frozen=True, kw_only=True):
    """Diagnostics of a participant's media."""

    path: DownlinkInfo | None
    "Null: no video was sent yet, or bandwidth estimation is disabled."
    video_stats: list[VideoState]
    "All subscribed videos with the forwarded layer and the reason."
    report: ClientReportInfo | None
    events: list[Decision]
    "The newest entries of the decision log, oldest first."


class ParticipantDetail(ParticipantInfo, frozen=True, kw_only=True):
    connection: ConnectionInfo | None
    "Null for participants without a WebRTC connection, e.g. a recorder of this server."


class ParticipantList(Schema, frozen=True, kw_only=True):
    participants: list[ParticipantInfo]
    waiting: list[WaitingParticipant]


class UpdatePermissions(RequestBody, frozen=True, kw_only=True):
    """Omitted fields stay unchanged."""

    publish: bool | None = None
    subscribe: bool | None = None
    data: bool | None = None
    admin: bool | None = None
    sources: list[Source] | None = None
    update_metadata: bool | None = None
    "May change its own name, metadata and attributes."


class UpdateParticipant(RequestBody, frozen=True, kw_only=True):
    """Omitted fields stay unchanged. An attribute with an empty value is removed."""

    name: Name | None = None
    metadata: Metadata | None = None
    attributes: Attributes | None = None
    permissions: UpdatePermissions | None = None


class Mute(RequestBody, frozen=True, kw_only=True):
    """The API can mute a track; only its owner can unmute it."""

    muted: bool = True


class SendData(RequestBody, frozen=True, kw_only=True):
    payload: Annotated[str, Meta(max_length=32_768)]
    topic: Annotated[str, Meta(max_length=64)] = ""
    to: Annotated[list[Identifier], Meta(max_length=256)] = []
    "Identities of the recipients; empty: all participants."
    keep: bool = False
    "Store the message in the room's history for late joiners."


class Development(Schema, frozen=True, kw_only=True):
    dev: bool
    message: str
    "Notice for the page; empty outside development mode."


class DevelopmentTokenRequest(RequestBody, frozen=True, kw_only=True):
    room: Annotated[str, Meta(max_length=128)]
    "Empty: a token for the whole server, not to join with."
    identity: Annotated[str, Meta(max_length=128)] = ""
    name: Name = ""
    admin: bool | None = None
    "Omitted: true if the room has no admin yet."


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
        kind=participant.kind,
        hidden=permissions.hidden,
        recorder=permissions.recorder,
        permissions=Permissions(
            publish=permissions.publish,
            subscribe=permissions.subscribe,
            data=permissions.data,
            admin=permissions.admin,
            sources=list(permissions.sources),  # type: ignore[arg-type]  # a token may contain unknown sources
            record=permissions.record,
            egress=permissions.egress,
            update_metadata=UNSET if permissions.update_metadata else False,
        ),
        tracks=[track_info(publication) for publication in participant.publications.values()],
    )


def participant_detail(participant: Participant, wall: float) -> ParticipantDetail:
    """`wall`: current Unix time."""
    shape = participant_info(participant)
    media_stats = participant.sink.media_stats()
    return ParticipantDetail(
        **{name: getattr(shape, name) for name in shape.__struct_fields__},
        connection=connection_info(media_stats, wall) if media_stats is not None else None,
    )


def connection_info(media_stats: MediaStats, wall: float) -> ConnectionInfo:
    report = media_stats.report
    return ConnectionInfo(
        path=_downlink_info(media_stats.path) if media_stats.path is not None else None,
        video_stats=[video_state(picture) for picture in media_stats.video_stats],
        report=_client_report_info(report, media_stats.at - report.at) if report is not None else None,
        events=[decision_state(entry, wall - media_stats.at) for entry in media_stats.entries],
    )


def _downlink_info(path: DownlinkStats) -> DownlinkInfo:
    return DownlinkInfo(
        estimate=path.estimate,
        rtt=path.rtt,
        loss=path.loss,
        height=path.height,
        rule=path.rule,
        transport=path.transport,
    )


def _client_report_info(report: ClientReport, age: float) -> ClientReportInfo:
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


class TurnServer(Schema, frozen=True, kw_only=True):
    """A TURN server as the server's probes see it."""

    url: str
    state: Literal["healthy", "slow", "failed"]
    "Clients get a slow server last and a failed one not at all."
    reason: str
    "Why it is not healthy; empty: it is."
    latency: float | None
    "Seconds until the last answer; null: no answer yet."
    loss: float
    "Ratio of lost probes within ten seconds."
    since: float
    "Seconds since the state last changed."

    @staticmethod
    def of(status: TurnStatus, now: float) -> "TurnServer":
        """`now`: monotonic seconds."""
        return TurnServer(
            url=status.url,
            state=status.state.value,
            reason=status.reason,
            latency=status.latency,
            loss=round(status.loss, 3),
            since=round(now - status.since, 1),
        )


class TurnServerList(Schema, frozen=True, kw_only=True):
    servers: list[TurnServer]
