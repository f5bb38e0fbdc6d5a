import json
import time

import pytest

from sfu.auth.tokens import Verifier
from sfu.cli import main
from sfu.commands.nodes import duration
from tests.commands.conftest import SECRET, ApiServer

NODE = {
    "id": "sfu-1", "url": "http://10.0.0.3:7883", "load": 0.416, "rooms": 3, "participants": 12, "version": "1.0",
    "draining": False, "age": 7300.0,
}  # fmt: skip


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0s"), (119.4, "119s"), (120, "2m"), (7199, "119m"), (7200, "2h"), (200_000, "2d")]
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_the_nodes_of_a_cluster(keys: str, api: ApiServer, capsys: pytest.CaptureFixture[str]) -> None:
    api.responses["/api/v1/nodes"] = {"nodes": [NODE, {**NODE, "id": "sfu-10", "draining": True, "age": 3.2}]}
    given = ("--keys-file", keys, "--url", api.url)
    assert main(["nodes", *given]) == 0
    assert [line.split() for line in capsys.readouterr().out.splitlines()] == [
        ["NODE", "URL", "LOAD", "ROOMS", "PARTICIPANTS", "VERSION", "DRAINING", "AGE"],
        ["sfu-1", "http://10.0.0.3:7883", "42%", "3", "12", "1.0", "no", "2h"],
        ["sfu-10", "http://10.0.0.3:7883", "42%", "3", "12", "1.0", "yes", "3s"],
    ]
    assert main(["nodes", *given, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["nodes"][0] == NODE


def test_a_drain_waits_until_the_node_is_empty(
    keys: str, api: ApiServer, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    api.responses["/api/v1/nodes/a%2Fb/drain"] = {**NODE, "draining": True}
    api.responses["/api/v1/nodes/a%2Fb"] = {**NODE, "draining": True, "rooms": 0}
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    given = ("--keys-file", keys, "--url", api.url)
    assert main(["drain", "a/b", *given]) == 0
    assert capsys.readouterr().out == "a/b is empty.\n"
    assert [request[:2] for request in api.requests] == [
        ("POST", "/api/v1/nodes/a%2Fb/drain"),
        ("GET", "/api/v1/nodes/a%2Fb"),
    ]
    grants = Verifier({"app": SECRET}).verify(api.requests[0][2], time.time()).video
    assert (grants.room_create, grants.room_list, grants.room_admin, grants.room) == (True, True, False, "")


def test_a_drain_that_takes_too_long_or_is_undone(
    keys: str, api: ApiServer, capsys: pytest.CaptureFixture[str]
) -> None:
    api.responses["/api/v1/nodes/sfu-1/drain"] = {**NODE, "draining": True}
    given = ("--keys-file", keys, "--url", api.url)
    assert main(["drain", "sfu-1", *given, "--timeout", "0"]) == 2
    assert "sfu-1 still has 3 rooms after 0 s. The drain continues." in capsys.readouterr().err
    api.responses["/api/v1/nodes/sfu-1"] = NODE
    assert main(["drain", "sfu-1", *given, "--timeout", "1"]) == 2
    assert "The drain of sfu-1 was undone." in capsys.readouterr().err
    assert main(["drain", "sfu-1", *given, "--undo"]) == 0
    assert api.requests[-1][:2] == ("DELETE", "/api/v1/nodes/sfu-1/drain")
    assert main(["drain", "sfu-1", *given, "--timeout", "-1"]) == 2


def test_a_room_moves(keys: str, api: ApiServer, capsys: pytest.CaptureFixture[str]) -> None:
    api.responses["/api/v1/rooms/a%2Fb/move"] = NODE
    given = ("--keys-file", keys, "--url", api.url)
    assert main(["rooms", "move", "a/b", "sfu-1", *given]) == 0
    assert capsys.readouterr().out == "a/b is on sfu-1 now.\n"
    assert main(["rooms", "move", "a/b", *given, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == NODE
    for wrong in (["list", "a/b"], ["move", "a", "b", "c"]):
        assert main(["rooms", *wrong, *given]) == 2
    assert "sfu rooms takes one room, or `move ROOM [NODE]`." in capsys.readouterr().err
