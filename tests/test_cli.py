"""The command line: output, error messages and exit status."""

import json
import sys
import time
import types
from pathlib import Path

import pytest
import yaml

from sfu import __version__
from sfu.auth.tokens import Verifier
from sfu.cli import main

SECRET = "a-secret-of-thirty-two-bytes-or-more"


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SFU_CONFIG", "SFU_CONFIG_FILE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def keys(tmp_path: Path) -> str:
    file = tmp_path / "keys"
    file.write_text(f"app: {SECRET}\n")
    return str(file)


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"aiosfu {__version__}\n"


def test_no_command_prints_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    shown = capsys.readouterr().out
    for command in ("serve", "token", "rooms", "config", "bot"):
        assert command in shown


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["serve", "--set", "http.prot=1"], "http.prot (the command line) is not a setting; did you mean http.port?"),
        (["serve", "--set", "http.port"], "--set http.port: write the value after an equals sign"),
        (["serve", "--config", "/nowhere"], "the configuration file /nowhere cannot be read"),
        (["config", "check", "--port", "x"], "http.port 'x' (the command line): expected int, got str."),
        (["config", "check", "--set", "auth.keys=devkey: secret"], "auth.keys.devkey has 6 bytes"),
        (["config", "check", "--set", "http.allowed_origins=meet"], "http.allowed_origins: 'meet' is not an origin"),
        (["config", "check", "--set", "auth.jwks={}"], "auth.jwks has no keys"),
        (["config", "check", "--set", "rtc.announce=meet.example.org"], "'meet.example.org' is not an IP address"),
        (
            ["config", "check", "--tls-certificate", "/nowhere", "--tls-key", "/nowhere"],
            "/nowhere: the file does not exist",
        ),
        (["token", "--room", "r", "--identity", "i"], "auth.keys is empty"),
        (["token", "--room", "r"], "--identity is required"),
        (["token", "--identity", "i"], "--room is required"),
        (["rooms", "--url", "file:///etc/passwd"], "must start with http"),
        (["rooms", "--url", "http://127.0.0.1:1"], "Connection refused"),
    ],
)
def test_one_sentence_and_status_2(arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.startswith("sfu: ")
    assert complaint in output.err
    assert output.err.count("\n") == 1


def test_token(keys: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["token", "--keys-file", keys, "--room", "r", "--identity", "i", "--admin", "--source", "camera"]) == 0
    now = time.time()
    claims = Verifier({"app": SECRET}).verify(capsys.readouterr().out.strip(), now)
    assert claims.identity == "i"
    assert claims.video.may_join("r")
    assert claims.video.may_administer("r")
    assert claims.video.can_publish_sources == ("camera",)
    assert abs(claims.expires_at - now - 21_600) < 5


@pytest.mark.parametrize(("flags", "allowed"), [([], True), (["--no-update-metadata"], False)])
def test_token_without_permission_to_update_metadata(
    flags: list[str], allowed: bool, keys: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["token", "--keys-file", keys, "--room", "r", "--identity", "i", *flags]) == 0
    claims = Verifier({"app": SECRET}).verify(capsys.readouterr().out.strip(), time.time())
    assert claims.video.can_update_own_metadata is allowed


@pytest.mark.parametrize(
    ("more", "complaint"),
    [
        (["--key", "other"], "no key named other"),
        (["--lifetime", "1e9"], "--lifetime must be"),
        (["--lifetime", "nan"], "--l"),
    ],
)
def test_token_refused(more: list[str], complaint: str, keys: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["token", "--keys-file", keys, "--room", "r", "--identity", "i", *more]) == 2
    assert complaint in capsys.readouterr().err


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


def test_bot_gets_its_own_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    cli = types.ModuleType("sfu.bots.cli")
    seen = []
    cli.__dict__["add_arguments"] = lambda parser: parser.add_argument("--room")
    cli.__dict__["run"] = lambda parsed: seen.append(parsed.room)
    package = types.ModuleType("sfu.bots")
    package.__dict__["cli"] = cli
    monkeypatch.setitem(sys.modules, "sfu.bots", package)
    monkeypatch.setitem(sys.modules, "sfu.bots.cli", cli)
    assert main(["bot", "--room", "demo"]) == 0
    assert seen == ["demo"]
