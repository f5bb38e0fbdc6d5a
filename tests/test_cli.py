"""The command line: output, error messages and exit status."""

import pytest

from sfu import __version__
from sfu.cli import main


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SFU_CONFIG", "SFU_CONFIG_FILE"):
        monkeypatch.delenv(name, raising=False)


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
