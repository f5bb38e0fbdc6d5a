import pytest

from sfu.cli import main
from tests.commands.conftest import ApiServer


def test_top_reads_metrics_and_rooms(keys: str, api: ApiServer, capsys: pytest.CaptureFixture[str]) -> None:
    api.responses["/metrics"] = "sfu_peers 3\n"
    api.responses["/api/v1/rooms"] = {"rooms": [{"name": "daily", "participants": 3, "waiting": 0, "tracks": 5}]}
    assert main(["top", "--keys-file", keys, "--url", api.url, "--count", "1"]) == 0
    assert "daily" in capsys.readouterr().out
    assert {path for _, path, _ in api.requests} == {"/metrics", "/api/v1/rooms"}


@pytest.mark.parametrize("interval", ["0", "-1", "nan"])
def test_the_interval_must_be_positive(interval: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["top", f"--interval={interval}"]) == 2
    assert "--interval must be greater than 0" in capsys.readouterr().err
