"""sfu.ingest.ingests: stream keys, cameras, their streams, and the limits and reports of all of them."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from sfu.errors import AtCapacity, BadRequest, NotFound
from sfu.events.event import IngressChanged, IngressEvent
from sfu.ingest.ingests import NO_CAMERA_LEFT, Ingests
from sfu.ingest.rtsp_pull import RtspPull
from sfu.ingest.settings import Settings
from sfu.ingest.status import IngestStatus
from sfu.ingest.stream_keys import StreamKey
from sfu.transport.settings import Settings as TransportSettings
from sfu.transport.webrtc_server import WebRtcServer
from tests.rooms.fakes import RoomsFixture

CAMERA = "rtsp://admin:s3cret@camera.example/secret-path"


class Server:
    def __init__(self, folder: Path, **settings: Any) -> None:
        self.fixture = RoomsFixture()
        self.full = False
        self.reported: list[tuple[IngressEvent, str]] = []
        files = {"keys_file": str(folder / "keys.json"), "pulls_file": str(folder / "pulls.json")}
        self.ingests = Ingests(
            Settings(**(files | settings)),
            self.fixture.rooms,
            WebRtcServer(TransportSettings()),
            self.admit,
            self.report,
        )

    def admit(self, room: str) -> None:
        if self.full:
            raise AtCapacity("The server is full.")

    def report(self, event: IngressEvent, change: IngressChanged) -> None:
        self.reported.append((event, change.error))

    def create(self, identity: str = "encoder") -> StreamKey:
        return self.ingests.create("standup", identity, "Camera")[0].key

    def camera(self, identity: str = "door") -> IngestStatus:
        return self.ingests.create_pull("standup", identity, "Door", CAMERA)

    def status(self) -> IngestStatus:
        (one,) = self.ingests.list()
        return one


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    one = Server(tmp_path)
    yield one
    await one.ingests.close()
    assert one.ingests._streams == {}


@pytest.fixture(autouse=True)
def idle_pulls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Cameras that were started; none is connected."""
    started: list[str] = []
    monkeypatch.setattr(RtspPull, "start", lambda self: started.append(self.key.id))
    return started


async def test_a_key_and_its_stream(server: Server) -> None:
    status, secret = server.ingests.create("standup", "encoder", "Camera")
    assert (status.state, status.room_id) == ("waiting", "")
    key = server.ingests.keys.find(secret)
    assert key == status.key
    stream = server.ingests.open(key)
    stream.attach(lambda reason: None)
    assert server.ingests.open(key) is stream
    assert (server.status().state, server.status().room_id) == ("live", stream.room.id)
    assert server.ingests.states() == {"live": 1}
    stream.close()
    assert server.status().state == "waiting"
    assert [event for event, _ in server.reported] == ["ingress_created", "ingress_started", "ingress_ended"]


async def test_lists_are_of_a_room(server: Server) -> None:
    server.create()
    server.ingests.create("other", "encoder", "Camera")
    assert [one.key.room for one in server.ingests.list()] == ["standup", "other"]
    assert [one.key.room for one in server.ingests.list("other")] == ["other"]


async def test_revoking_ends_the_stream(server: Server) -> None:
    key, reasons = server.create(), list[str]()
    server.ingests.open(key).attach(reasons.append)
    with pytest.raises(NotFound):
        server.ingests.revoke("other", key.id)
    assert reasons == []
    server.ingests.revoke("standup", key.id)
    assert reasons == ["The stream was ended by the server."]
    assert server.ingests.list() == []
    assert [event for event, _ in server.reported][-2:] == ["ingress_ended", "ingress_deleted"]
    with pytest.raises(NotFound):
        server.ingests.revoke("standup", key.id)


async def test_streams_are_bounded(tmp_path: Path) -> None:
    server = Server(tmp_path, max_streams=1)
    first, second = server.create(), server.create("second")
    stream = server.ingests.open(first)
    with pytest.raises(AtCapacity):
        server.ingests.open(second)
    assert [one.problem for one in server.ingests.list()] == ["", "This server cannot take another stream."]
    stream.close()
    server.ingests.open(second)
    await server.ingests.close()


async def test_a_full_node_takes_no_stream(server: Server) -> None:
    server.full = True
    with pytest.raises(AtCapacity):
        server.ingests.open(server.create())
    assert (server.status().state, server.status().problem) == ("error", "The server is full.")
    server.full = False
    server.ingests.open(server.status().key)
    assert server.status().problem == ""


async def test_a_failure_is_shown_and_reported_once(server: Server) -> None:
    key = server.create()
    stream = server.ingests.open(key)
    server.ingests.fail(key, "The bit rate is too high.")
    assert stream.disconnect is None
    assert (server.status().state, server.status().problem) == ("error", "The bit rate is too high.")
    for _ in range(2):
        server.ingests._report_changes()
    assert [error for _, error in server.reported if error] == ["The bit rate is too high."]
    server.ingests.revoke("standup", key.id)
    server.ingests.fail(key, "Too late.")
    assert server.ingests._problems == {}


async def test_a_camera_from_its_creation_to_its_removal(server: Server, idle_pulls: list[str]) -> None:
    status = server.camera()
    assert (status.state, status.url) == ("waiting", "rtsp://***@camera.example/…")
    assert idle_pulls == [status.key.id]
    server.ingests.save()
    server.ingests.pull_failed(status.key, "The camera does not answer.")
    assert server.status().problem == "The camera does not answer."
    server.ingests.revoke("standup", status.key.id)
    server.ingests.pull_failed(status.key, "Too late.")
    assert server.ingests._problems == {}


async def test_a_cameras_stream_stays_while_it_is_away(server: Server) -> None:
    key = server.camera().key
    stream = server.ingests.open(key)
    assert stream.participant.attributes["ingest_protocol"] == "rtsp"

    def disconnect(reason: str) -> None: ...

    stream.attach(disconnect)
    stream.detach(disconnect)
    server.ingests.pull_failed(key, "The camera does not answer.")
    status = server.status()
    assert (status.state, status.problem, status.room_id) == ("error", "The camera does not answer.", stream.room.id)
    assert server.ingests.open(key) is stream
    assert server.status().problem == ""


async def test_cameras_are_bounded(tmp_path: Path) -> None:
    server = Server(tmp_path, max_streams=1)
    server.camera()
    with pytest.raises(AtCapacity, match=NO_CAMERA_LEFT):
        server.camera("garage")
    with pytest.raises(BadRequest):
        server.ingests.create_pull("standup", "roof", "", "http://camera.example/")
    assert len(server.ingests.list()) == 1
    await server.ingests.close()


async def test_cameras_and_keys_survive_a_restart(tmp_path: Path, idle_pulls: list[str]) -> None:
    before = Server(tmp_path)
    key, first, second = before.create(), before.camera().key, before.camera("garage").key
    before.ingests.save()
    await before.ingests.close()
    assert "s3cret" not in (tmp_path / "keys.json").read_text()
    assert len(json.loads((tmp_path / "pulls.json").read_text())["pulls"]) == 2
    idle_pulls.clear()
    after = Server(tmp_path, max_streams=1)
    after.ingests.resume_pulls()
    assert {one.key.id for one in after.ingests.list()} == {key.id, first.id, second.id}
    assert idle_pulls == [first.id]
    problems = {one.key.id: one.problem for one in after.ingests.list()}
    assert problems == {key.id: "", first.id: "", second.id: NO_CAMERA_LEFT}
    await after.ingests.close()


async def test_a_change_that_cannot_be_stored_is_refused(tmp_path: Path) -> None:
    server = Server(tmp_path, keys_file=str(tmp_path / "no-such-folder" / "keys.json"))
    server.create()
    with pytest.raises(AtCapacity):
        server.ingests.save()


async def test_counters(server: Server) -> None:
    server.create()
    server.ingests.count_received(1000)
    server.ingests.count_received(500)
    snapshot = server.ingests.snapshot()
    assert (dict(snapshot.states), snapshot.received_bytes, dict(snapshot.refused)) == ({"waiting": 1}, 1500, {})
