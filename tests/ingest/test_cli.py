"""`sfu ingest`: the requests of each command, and the printed text."""

import argparse
import io
from typing import Any

import pytest

from sfu.ingest.cli import add_arguments, run
from sfu.ingest.settings import Settings

INGEST = {"id": "IN_1", "room": "a/b", "identity": "obs", "state": "error", "problem": "No video.", "url": "rtsp://cam"}


def execute(arguments: list[str], answer: Any = None, **settings: Any) -> list[tuple[str, Any, Any]]:
    """Path, method and body of each request."""
    requests = []

    def request(path: str, *, grants: Any, method: str | None = None, body: Any = None) -> Any:
        requests.append((path, method, body))
        return answer

    parser = argparse.ArgumentParser()
    add_arguments(parser)
    assert run(parser.parse_args(arguments), request, Settings(**settings)) == 0
    return requests


@pytest.mark.parametrize(
    ("port", "address"),
    [(1935, "rtmp://HOST/live"), (0, "rtmp://HOST/live"), (None, "rtmp://HOST/live"), (1999, "rtmp://HOST:1999/live")],
)
def test_create_prints_the_key(port: int | None, address: str, capsys: pytest.CaptureFixture[str]) -> None:
    requests = execute(["create", "a/b"], {"key": "secret", "ingest": INGEST}, rtmp_port=port)
    assert requests == [("/rooms/a%2Fb/ingest", "POST", {"identity": "encoder", "name": "", "url": ""})]
    assert capsys.readouterr().out.split() == ["server", address, "stream", "key", "secret"]


def test_create_reads_the_camera_from_standard_input(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("rtsp://user:password@cam/1\n"))
    [(_, _, body)] = execute(["create", "a/b", "--rtsp", "-"], {"key": "", "ingest": INGEST})
    assert body["url"] == "rtsp://user:password@cam/1"
    assert capsys.readouterr().out.split() == ["camera", "IN_1", "rtsp://cam"]


def test_revoke_quotes_its_path() -> None:
    assert execute(["revoke", "a/b", "IN/1"]) == [("/rooms/a%2Fb/ingest/IN%2F1", "DELETE", None)]


def test_list_prints_the_problem(capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(["list"], {"ingests": [INGEST]}) == [("/ingest", None, None)]
    assert capsys.readouterr().out.split() == ["IN_1", "a/b", "obs", "error", "No", "video."]
