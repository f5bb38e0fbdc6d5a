"""Events of ingress in the one stream of a room, by webhook and as server-sent events."""

import asyncio
import json
from pathlib import Path
from typing import Any

from livekit.protocol.ingress import IngressInput, IngressState
from livekit.protocol.models import ParticipantInfo

from sfu.events.event import IngressChanged, IngressEvent
from sfu.ingest.reports import IngressReports
from sfu.ingest.status import IngestStatus
from sfu.ingest.stream_keys import StreamKey
from tests.events.support import KEYS, Receiver, receiving
from tests.ingest.support import AAC, H264, ROOM, IngestServer, ingest_server, token
from tests.support.admin import SECRET

Status = IngressState.Status
KEY = StreamKey("IN_1", "hall", "encoder", "Camera", "", 0.0)


def ingress(receiver: Receiver) -> list[tuple[str, int]]:
    """Name and status of each event of ingress."""
    return [(one.event, one.ingress_info.state.status) for one in receiver.events if one.event.startswith("ingress_")]


def videos(receiver: Receiver) -> list[tuple[str, int, int]]:
    """Codec and size of the video in each update of an ingress; the size follows with the first keyframe."""
    states = [one.ingress_info.state for one in receiver.events if one.event == "ingress_updated"]
    return [(one.video.mime_type, one.video.width, one.video.height) for one in states]


async def follow(one: IngestServer, until: str) -> list[dict[str, Any]]:
    """Server-sent events of the room, up to the one with this name."""
    found: list[dict[str, Any]] = []
    headers = {"Authorization": f"Bearer {token('operator', room_admin=True)}", "Last-Event-ID": "EV_none_0"}
    async with (
        asyncio.timeout(30),
        one.http.get(f"{one.server.url}/api/v1/events?room={ROOM}", headers=headers) as answer,
    ):
        while not found or found[-1]["event"] != until:
            block = (await answer.content.readuntil(b"\n\n")).decode()
            found += [json.loads(line[6:]) for line in block.splitlines() if line.startswith("data: ")]
    return found


async def test_a_stream_from_its_key_to_its_end(tmp_path: Path) -> None:
    async with receiving() as receiver:
        settings = {
            "auth__keys": f'{{key: "{SECRET}", web: "{KEYS["web"]}"}}',
            "events__webhooks__endpoints": f'[{{url: "{receiver.url}", key: web}}]',
            "events__webhooks__private": "true",
            "events__directory": str(tmp_path / "events"),
        }
        async with ingest_server(tmp_path, **settings) as one:
            key = await one.create_key()
            encoder = await one.encode(key, *H264, *AAC)
            await receiver.wait(lambda: ("video/H264", 320, 180) in videos(receiver), 60)
            assert ("ingress_updated", Status.ENDPOINT_PUBLISHING) in ingress(receiver)
            encoder.kill()
            await receiver.wait(lambda: ("ingress_updated", Status.ENDPOINT_BUFFERING) in ingress(receiver), 60)
            identifier = (await one.status())["id"]
            await one.ask("DELETE", f"/rooms/{ROOM}/ingest/{identifier}")
            await receiver.wait_for("ingress_deleted")
            followed = await follow(one, "ingress_deleted")
    assert receiver.names()[: len(followed)] == [one["event"] for one in followed]
    assert [one["sequence"] for one in followed] == list(range(1, len(followed) + 1))
    assert key not in json.dumps(followed)
    published = [("ingress_updated", Status.ENDPOINT_PUBLISHING)]
    assert [each for each in ingress(receiver) if each not in published] == [
        ("ingress_created", Status.ENDPOINT_INACTIVE),
        ("ingress_started", Status.ENDPOINT_BUFFERING),
        ("ingress_updated", Status.ENDPOINT_BUFFERING),
        ("ingress_ended", Status.ENDPOINT_INACTIVE),
        ("ingress_deleted", Status.ENDPOINT_INACTIVE),
    ]
    joined, started = receiver.names().index("participant_joined"), receiver.names().index("ingress_started")
    assert joined < started
    assert receiver.events[joined].participant.kind == ParticipantInfo.Kind.INGRESS
    ended = next(one.ingress_info for one in receiver.events if one.event == "ingress_ended")
    assert (ended.ingress_id, ended.room_name, ended.participant_identity) == (identifier, ROOM, "encoder")
    assert (ended.input_type, ended.participant_name, ended.stream_key) == (
        IngressInput.RTMP_INPUT,
        "Studio camera",
        "",
    )
    assert ended.state.room_id == receiver.events[joined].room.sid
    assert 0 < ended.state.started_at < ended.state.ended_at


async def test_an_unreachable_camera_is_reported_once(tmp_path: Path) -> None:
    async with ingest_server(tmp_path) as one:
        body = {"identity": "door", "url": "rtsp://admin:s3cret@localhost/secret-path"}
        created = await one.ask("POST", f"/rooms/{ROOM}/ingest", json=body)
        followed = await follow(one, "ingress_updated")
        await one.ask("DELETE", f"/rooms/{ROOM}/ingest/{created['ingest']['id']}")
        followed = await follow(one, "ingress_deleted")
    assert [one["event"] for one in followed] == ["ingress_created", "ingress_updated", "ingress_deleted"]
    info = followed[1]["ingressInfo"]
    assert (info["inputType"], info["url"]) == ("URL_INPUT", "rtsp://***@localhost/…")
    assert info["state"]["status"] == "ENDPOINT_ERROR"
    assert "private address" in info["state"]["error"]
    assert "secret" not in json.dumps(followed)


def test_only_changes_are_reported() -> None:
    events: list[tuple[IngressEvent, IngressChanged]] = []
    reports = IngressReports(lambda event, change: events.append((event, change)), lambda: 7.0)
    waiting = IngestStatus(KEY, "waiting", "", "", 0, 0, 0)
    live = IngestStatus(KEY, "live", "", "H264", 640, 360, 1000, "", "RM_1")
    reports.started(waiting)
    reports.updated(live)
    reports.updated(live)
    reports.ended(waiting, "RM_1")
    reports.updated(waiting)
    failed = IngestStatus(KEY, "error", "It failed.", "", 0, 0, 0)
    for _ in range(2):
        reports.updated(failed)
    assert [event for event, _ in events] == ["ingress_started", "ingress_updated", "ingress_ended", "ingress_updated"]
    assert [change.status for _, change in events] == [
        "ENDPOINT_INACTIVE",
        "ENDPOINT_PUBLISHING",
        "ENDPOINT_INACTIVE",
        "ENDPOINT_ERROR",
    ]
    assert (events[2][1].room_id, events[2][1].ended_at, events[3][1].error) == ("RM_1", 7.0, "It failed.")
