"""sfu.events.encoding: each event as LiveKit's own protocol buffers parse it."""

from dataclasses import replace
from typing import Any

import pytest
from google.protobuf import json_format
from livekit.protocol.egress import EgressStatus as LiveKitEgressStatus
from livekit.protocol.ingress import IngressInput, IngressState
from livekit.protocol.models import DisconnectReason, ParticipantInfo, TrackSource, TrackType
from livekit.protocol.webhook import WebhookEvent
from msgspec import json

from sfu.events.encoding import DISCONNECT_REASONS, encode
from sfu.events.event import Content, EgressChanged, EventName, IngressChanged, RecordingChanged
from sfu.ids import Identity, ParticipantId, RoomName, TrackId
from sfu.rooms.egress_status import EgressStatus
from sfu.rooms.observer import Joined, Left, Moderated, Published, RoomClosed, RoomOpened, RoomSummary, Unpublished
from sfu.rooms.permissions import Permissions
from sfu.rooms.state import ParticipantState, PublicationState, RoomState, WaitingState
from sfu.rooms.track_description import LayerDescription, TrackDescription

AT = 1_767_225_600.25
LAYERS = (LayerDescription(rid="q", width=320, height=180), LayerDescription(rid="f", width=1280, height=720))
CAMERA = PublicationState(
    TrackId("TR_1"),
    ParticipantId("PA_1"),
    "video",
    "VP8",
    TrackDescription(source="camera", name="front", width=1280, height=720, layers=LAYERS),
    muted=True,
)
ADA = ParticipantState(
    ParticipantId("PA_1"), Identity("ada"), "Ada", "{}", {"hand": "1"}, Permissions(sources=("camera",)), AT, (CAMERA,)
)
ROOM = RoomSummary(
    RoomState(RoomName("hall"), "RM_1", "meta", locked=True, lobby_enabled=False, created_at=AT, egress=EgressStatus()),
    participants=3,
    publishers=1,
)


def event(
    content: Content, name: EventName = "room_started", summary: RoomSummary | None = ROOM
) -> tuple[WebhookEvent, dict[str, Any]]:
    """The event as LiveKit's SDK parses it, and its JSON."""
    body = encode(name, "EV_1", 7, AT, content, summary)
    return json_format.Parse(body.decode(), WebhookEvent(), ignore_unknown_fields=True), json.decode(body)


def test_the_frame_of_every_event() -> None:
    parsed, raw = event(RoomOpened())
    assert (parsed.event, parsed.id, parsed.created_at) == ("room_started", "EV_1", int(AT))
    assert (parsed.room.sid, parsed.room.name, parsed.room.metadata) == ("RM_1", "hall", "meta")
    assert (parsed.room.creation_time_ms, parsed.room.num_participants, parsed.room.num_publishers) == (
        int(AT * 1000),
        3,
        1,
    )
    assert (raw["sequence"], raw["room"]["locked"], "lobby" in raw["room"]) == (7, True, False)
    assert not {"participant", "track", "egressInfo", "ingressInfo", "recording", "by", "reason"} & set(raw)
    assert event(RoomClosed("timeout"))[1]["reason"] == "timeout"


def test_a_participant() -> None:
    participant = event(Joined(ADA), "participant_joined")[0].participant
    assert (participant.sid, participant.identity, participant.name) == ("PA_1", "ada", "Ada")
    assert participant.state == ParticipantInfo.State.ACTIVE
    assert participant.kind == ParticipantInfo.Kind.STANDARD
    assert dict(participant.attributes) == {"hand": "1"}
    assert participant.permission.can_publish_sources == [TrackSource.CAMERA]
    assert (participant.is_publisher, participant.tracks[0].sid) == (True, "TR_1")


@pytest.mark.parametrize(
    ("state", "kind"),
    [
        (replace(ADA, kind="ingress"), ParticipantInfo.Kind.INGRESS),
        (replace(ADA, permissions=Permissions(hidden=True, recorder=True)), ParticipantInfo.Kind.EGRESS),
    ],
)
def test_kinds_of_participants(state: ParticipantState, kind: int) -> None:
    assert event(Joined(state))[0].participant.kind == kind


@pytest.mark.parametrize("reason", [*DISCONNECT_REASONS, "protocol_error"])
def test_reasons_to_leave(reason: str) -> None:
    parsed, raw = event(Left(ADA, reason), "participant_left")
    assert parsed.participant.state == ParticipantInfo.State.DISCONNECTED
    expected = DISCONNECT_REASONS.get(reason, "UNKNOWN_REASON")
    assert DisconnectReason.Name(parsed.participant.disconnect_reason) == expected
    assert raw["reason"] == reason


@pytest.mark.parametrize("content", [Published(ADA, CAMERA), Unpublished(ADA, CAMERA)])
def test_a_track(content: Content) -> None:
    track = event(content, "track_published")[0].track
    assert (track.sid, track.name, track.mime_type, track.muted) == ("TR_1", "front", "video/VP8", True)
    assert (track.type, track.source) == (TrackType.VIDEO, TrackSource.CAMERA)
    assert (track.simulcast, [layer.width for layer in track.layers]) == (True, [320, 1280])


def test_moderation_names_its_actor_and_its_object() -> None:
    parsed, raw = event(Moderated("track_muted", "ada", ADA, CAMERA), "track_muted")
    assert (raw["by"], parsed.participant.identity, parsed.track.sid) == ("ada", "ada", "TR_1")
    eve = WaitingState(ParticipantId("WA_1"), Identity("eve"), "Eve")
    parsed, _ = event(Moderated("participant_waiting", "", eve), "participant_waiting")
    assert (parsed.participant.sid, parsed.participant.identity) == ("WA_1", "eve")
    assert not event(Moderated("room_updated", "ada"))[0].HasField("participant")


def test_egress() -> None:
    change = EgressChanged(
        id="EG_1", room="hall", room_id="RM_1", status="EGRESS_FAILED", started_at=12.5, ended_at=13.0, error="It failed.",
        outputs=("live", "push"), layout="grid",
    )  # fmt: skip
    parsed, raw = event(change, "egress_ended", None)
    info = parsed.egress_info
    assert (info.egress_id, info.room_name, info.error) == ("EG_1", "hall", "It failed.")
    assert info.status == LiveKitEgressStatus.EGRESS_FAILED
    assert (info.started_at, info.ended_at) == (12_500_000_000, 13_000_000_000)
    assert (raw["egressInfo"]["outputs"], raw["egressInfo"]["layout"]) == (["live", "push"], "grid")
    assert not parsed.HasField("room")


def test_ingress() -> None:
    change = IngressChanged(
        id="IN_1", room="hall", room_id="RM_1", identity="door", name="Door", url="rtsp://***@camera/…",
        status="ENDPOINT_PUBLISHING", started_at=1.0, warning="B-frames.", codec="H264", width=640, height=360,
    )  # fmt: skip
    parsed, raw = event(change, "ingress_updated", None)
    info = parsed.ingress_info
    assert (info.ingress_id, info.participant_identity, info.input_type) == ("IN_1", "door", IngressInput.URL_INPUT)
    assert info.state.status == IngressState.Status.ENDPOINT_PUBLISHING
    assert (info.state.video.mime_type, info.state.video.width) == ("video/H264", 640)
    assert raw["ingressInfo"]["state"]["warning"] == "B-frames."
    waiting = replace(change, url="", codec="", status="ENDPOINT_INACTIVE")
    info = event(waiting, "ingress_updated", None)[0].ingress_info
    assert (info.input_type, info.state.HasField("video")) == (IngressInput.RTMP_INPUT, False)


def test_a_recording() -> None:
    change = RecordingChanged(
        name="hall-1",
        room="hall",
        kind="mix",
        egress_id="EG_1",
        started_at=1.23456,
        finished=True,
        files=(("a.mp4", 5),),
    )
    assert event(change, "recording_finished", None)[1]["recording"] == {
        "name": "hall-1",
        "room": "hall",
        "kind": "mix",
        "egressId": "EG_1",
        "startedAt": 1.235,
        "files": [{"name": "a.mp4", "size": 5}],
    }
