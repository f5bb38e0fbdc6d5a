"""Options that several commands share: settings of the server, and how to reach a running one."""

import argparse
import os
from typing import TypeAlias

from sfu import config
from sfu.errors import ConfigurationError

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"
"""The subcommands of `sfu`; the `add` of each command adds it."""
NAMED_FLAGS = {
    "--host": ("http.host", "ADDRESS"),
    "--port": ("http.port", "PORT"),
    "--tls-certificate": ("http.tls_certificate", "FILE"),
    "--tls-key": ("http.tls_key", "FILE"),
    "--keys-file": ("auth.keys_file", "FILE"),
    "--udp-port": ("rtc.udp_port", "PORT"),
    "--redis": ("cluster.redis_url", "URL"),
    "--log-level": ("log.level", "LEVEL"),
    "--log-format": ("log.format", "FORMAT"),
}
"""Flags for common settings; `--set` sets any other one."""


def add_settings(parser: argparse.ArgumentParser, *, default: str | None = None) -> None:
    """`default`: None, or `argparse.SUPPRESS` for a subcommand whose parent takes the same options."""
    group = parser.add_argument_group("settings")
    group.add_argument(
        "--config",
        metavar="FILE",
        default=default,
        help="YAML file (also SFU_CONFIG_FILE, or inline in SFU_CONFIG)",
    )
    for flag, (key, metavar) in NAMED_FLAGS.items():
        group.add_argument(
            flag, dest=f"setting:{key}", metavar=metavar, default=default, help=f"same as --set {key}={metavar}"
        )
    group.add_argument(
        "--set",
        dest="set",
        action="append",
        default=default or [],
        metavar="KEY=VALUE",
        help="set any setting by its dotted key; `sfu config schema` lists all settings",
    )


def add_server(parser: argparse.ArgumentParser, *, default: str = "") -> None:
    parser.add_argument(
        "--url", default=default, help="URL of the server (default: the server that the settings describe)"
    )
    parser.add_argument(
        "--token", default=default, help="access token (default: created with the first key of the settings)"
    )


def load_settings(parsed: argparse.Namespace) -> config.Settings:
    flags = {name.removeprefix("setting:"): text for name, text in vars(parsed).items() if name.startswith("setting:")}
    given = [(key, text) for key, text in flags.items() if text is not None]
    for pair in parsed.set:
        key, separator, text = pair.partition("=")
        if not separator:
            raise ConfigurationError(f"--set {key}: write the value after an equals sign, as in --set http.port=8080.")
        given.append((key.strip(), text))
    return config.load(file=parsed.config, environment=os.environ, flags=given)
