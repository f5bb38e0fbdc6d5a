import argparse

import pytest

from sfu.commands.options import NAMED_FLAGS, add_server, add_settings, load_settings
from sfu.errors import ConfigurationError


def parsed(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_settings(parser)
    return parser.parse_args(arguments)


def test_named_flags_set_and_the_environment_give_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SFU_RTC__UDP_PORT", "7000")
    settings = load_settings(parsed("--host", "::1", "--set", " http.port =82"))
    assert (settings.http.host, settings.http.port, settings.rtc.udp_port) == ("::1", 82, 7000)


def test_every_named_flag_is_a_setting() -> None:
    values = {"PORT": "1234", "LEVEL": "debug", "FORMAT": "json", "URL": "redis://[::1]:6379"}
    secret = ("--set", f"cluster.secrets=[{'s' * 32}]")
    for flag, (key, metavar) in NAMED_FLAGS.items():
        if metavar == "FILE":
            continue  # read when the settings are loaded
        settings: object = load_settings(parsed(flag, values.get(metavar, "::1"), *secret))
        for name in key.split("."):
            settings = getattr(settings, name)
        assert str(settings) == values.get(metavar, "::1")


def test_a_setting_without_a_value_is_an_error() -> None:
    with pytest.raises(ConfigurationError, match="equals sign"):
        load_settings(parsed("--set", "http.port"))


def test_options_count_before_and_after_a_subcommand() -> None:
    parser = argparse.ArgumentParser()
    add_settings(parser)
    add_server(parser)
    command = parser.add_subparsers().add_parser("go")
    add_settings(command, default=argparse.SUPPRESS)
    add_server(command, default=argparse.SUPPRESS)
    for words in (["--port", "81", "--url", "http://a", "go"], ["go", "--port", "81", "--url", "http://a"]):
        found = parser.parse_args(words)
        assert (load_settings(found).http.port, found.url, found.token) == (81, "http://a", "")
