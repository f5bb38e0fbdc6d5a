import json
import time

import pytest

from sfu.auth.tokens import Verifier
from sfu.cli import main
from tests.commands.conftest import SECRET, ApiServer

ROOMS = {"rooms": [{"name": "one", "participants": 1}, {"name": "two", "participants": 12}]}
PEOPLE = {
    "participants": [{"identity": "ada", "name": "Ada", "tracks": [{"source": "camera"}, {"source": "microphone"}]}]
}


def test_the_rooms_of_a_server(keys: str, api: ApiServer, capsys: pytest.CaptureFixture[str]) -> None:
    api.responses["/api/v1/rooms"] = ROOMS
    assert main(["rooms", "--keys-file", keys, "--url", api.url]) == 0
    assert [line.split() for line in capsys.readouterr().out.splitlines()] == [
        ["one", "1", "participant"],
        ["two", "12", "participants"],
    ]
    assert main(["rooms", "--keys-file", keys, "--url", api.url, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == ROOMS


def test_the_participants_of_a_room_whose_name_needs_quoting(
    keys: str, api: ApiServer, capsys: pytest.CaptureFixture[str]
) -> None:
    api.responses["/api/v1/rooms/a%2Fb/participants"] = PEOPLE
    assert main(["rooms", "a/b", "--keys-file", keys, "--url", api.url]) == 0
    assert capsys.readouterr().out.split() == ["ada", "Ada", "camera,", "microphone"]
    ((_, _, token),) = api.requests
    assert Verifier({"app": SECRET}).verify(token, time.time()).video.may_administer("a/b")
