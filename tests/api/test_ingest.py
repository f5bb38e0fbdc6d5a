"""sfu.api.ingest: operations on stream keys and cameras, over an IngestPort of the tests."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from msgspec import ValidationError, convert, json

from sfu.api.admin import Call
from sfu.api.ingest import OPERATIONS, CreatedIngest, CreateIngest, IngestList
from sfu.api.services import Services
from sfu.auth.tokens import Verifier
from sfu.errors import NotFound
from sfu.ingest.status import IngestStatus
from sfu.ingest.stream_keys import StreamKey
from tests.api.support import KEY, Node
from tests.rooms.fakes import RoomsFixture
from tests.signaling.fakes import claims

OPERATION = {operation.name: operation for operation in OPERATIONS}
STATUS = IngestStatus(
    StreamKey("IN_1", "hall", "encoder", "Camera", "hash-of-the-key", 12.5), "live", "B-frames.", "H264", 640, 360, 1000
)


class Ingests:
    """An IngestPort that records its calls."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []

    def create(self, room: str, identity: str, name: str) -> tuple[IngestStatus, str]:
        self.calls.append(("create", room, identity, name))
        return STATUS, "secret"

    def create_pull(self, room: str, identity: str, name: str, url: str) -> IngestStatus:
        self.calls.append(("create_pull", room, identity, name, url))
        return replace(STATUS, url="rtsp://***@camera/…")

    def revoke(self, room: str, identifier: str) -> None:
        self.calls.append(("revoke", room, identifier))

    def save(self) -> None:
        self.calls.append(("save",))

    def list(self, room: str = "") -> Sequence[IngestStatus]:
        self.calls.append(("list", room))
        return [STATUS]


class Fixture:
    def __init__(self, *, ingest: bool = True) -> None:
        self.ingests = Ingests()
        self.services = Services(
            rooms=RoomsFixture().rooms,
            node=Node(),
            verifier=Verifier({"app": KEY}),
            ingests=self.ingests if ingest else None,
        )

    def run(self, name: str, body: dict[str, Any] | None = None, **parameters: str) -> Any:
        """The answer; what reads or writes files runs afterwards, in another thread in the server."""
        operation = OPERATION[name]
        parsed = convert(body, operation.body) if operation.body is not None else None
        answer = operation.run(Call(self.services, claims("operator"), parameters, {}, parsed))
        if callable(answer):
            self.ingests.calls.append(("in a thread",))
            return answer()
        return answer


def test_a_key_is_in_the_answer_once_it_is_stored() -> None:
    one = Fixture()
    answer = one.run("createIngest", {"identity": "encoder", "name": "Camera"}, room="hall")
    assert isinstance(answer, CreatedIngest)
    assert one.ingests.calls == [("create", "hall", "encoder", "Camera"), ("in a thread",), ("save",)]
    assert (answer.key, answer.ingest.id, answer.ingest.url) == ("secret", "IN_1", "")


def test_a_camera_has_no_key() -> None:
    one = Fixture()
    url = "rtsp://admin:s3cret@camera/1"
    answer = one.run("createIngest", {"identity": "door", "url": url}, room="hall")
    assert one.ingests.calls == [("create_pull", "hall", "door", "", url), ("in a thread",), ("save",)]
    assert (answer.key, answer.ingest.url) == ("", "rtsp://***@camera/…")


def test_the_state_of_a_stream() -> None:
    one = Fixture()
    answer = one.run("listIngests")
    assert isinstance(answer, IngestList)
    assert json.decode(json.encode(answer.ingests[0])) == {
        "id": "IN_1", "room": "hall", "identity": "encoder", "name": "Camera", "created_at": 12.5, "state": "live",
        "problem": "B-frames.", "codec": "H264", "width": 640, "height": 360, "received_bytes": 1000, "url": "",
    }  # fmt: skip
    assert one.run("listRoomIngests", room="hall") == answer
    assert one.ingests.calls == [("list", ""), ("list", "hall")]


def test_a_revocation_is_stored() -> None:
    one = Fixture()
    assert one.run("revokeIngest", room="hall", ingest="IN_1") is None
    assert one.ingests.calls == [("revoke", "hall", "IN_1"), ("in a thread",), ("save",)]


@pytest.mark.parametrize("name", OPERATION)
def test_a_server_without_ingest(name: str) -> None:
    body = {"identity": "encoder"} if name == "createIngest" else None
    with pytest.raises(NotFound):
        Fixture(ingest=False).run(name, body, room="hall", ingest="IN_1")


@pytest.mark.parametrize(
    "body",
    [{}, {"identity": ""}, {"identity": "x" * 129}, {"identity": "a", "name": "x" * 129}, {"identity": "a", "url": "x" * 2049},
     {"identity": "a", "key": "chosen"}],
)  # fmt: skip
def test_invalid_requests(body: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        convert(body, CreateIngest)


def test_grants() -> None:
    assert {name: operation.grant for name, operation in OPERATION.items()} == {
        "listIngests": "list",
        "listRoomIngests": "view",
        "createIngest": "admin",
        "revokeIngest": "admin",
    }
