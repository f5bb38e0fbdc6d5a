"""`sfu config`: checks, shows and describes the configuration."""

import argparse
import json

import yaml

from sfu import config
from sfu.commands.options import Commands, add_settings, load_settings


def add(commands: Commands) -> None:
    parser = commands.add_parser("config", help="check, show or describe the configuration")
    subcommands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name, run, description in (
        ("check", _check, "validate the settings"),
        ("show", _show, "print the effective settings, without secrets"),
        ("schema", _schema, "print the JSON Schema of the configuration file"),
        ("bounds", _bounds, "print the limit of every queue, buffer and cache, and the memory of all together"),
    ):
        command = subcommands.add_parser(name, help=description)
        add_settings(command)
        command.set_defaults(run=run)


def _check(parsed: argparse.Namespace) -> int:
    settings = load_settings(parsed)
    from sfu.api.tls import TlsContext
    from sfu.auth.origins import Origins
    from sfu.auth.tokens import Verifier
    from sfu.transport.webrtc_server import announced

    Verifier.from_settings(settings.auth)
    Origins(settings.http.allowed_origins)
    Origins(settings.outputs.hls.origins, setting="outputs.hls.origins")
    announced(settings.rtc)
    if settings.http.tls_certificate:
        TlsContext(settings.http.tls_certificate, settings.http.tls_key)
    mode = ", development mode: auth.keys is empty" if settings.auth.development else ""
    print(f"The configuration is valid{mode}.")
    return 0


def _show(parsed: argparse.Namespace) -> int:
    print(yaml.safe_dump(config.shown(load_settings(parsed)), sort_keys=False, allow_unicode=True), end="")
    return 0


def _bounds(parsed: argparse.Namespace) -> int:
    from sfu.admin import bounds_report

    settings = load_settings(parsed)
    print(*bounds_report.rows(settings), "", bounds_report.summary(settings), sep="\n")
    return 0


def _schema(parsed: argparse.Namespace) -> int:
    print(json.dumps(config.schema(), indent=2))
    return 0
