"""The subcommands of `sfu config`, each by its output."""

import json

import pytest
import yaml

from sfu.cli import main


def test_config_check(keys: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "check", "--keys-file", keys]) == 0
    assert main(["config", "check"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "The configuration is valid.",
        "The configuration is valid, development mode: auth.keys is empty.",
    ]


def test_config_show_hides_secrets(
    keys: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SFU_HTTP__HOST", "environment")
    assert main(["config", "show", "--keys-file", keys, "--port", "81"]) == 0
    shown = yaml.safe_load(capsys.readouterr().out)
    assert shown["auth"]["keys"] == {"app": "***"}
    assert (shown["http"]["host"], shown["http"]["port"]) == ("environment", 81)


def test_config_bounds(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "bounds", "--set", "rooms.max_participants=10"]) == 0
    said = capsys.readouterr().out
    assert "| retransmission history | publication |" in said
    assert "a room of 10 participants" in said


def test_config_schema(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "schema"]) == 0
    assert json.loads(capsys.readouterr().out)["properties"]["http"]["properties"]["port"]["default"] == 7880
