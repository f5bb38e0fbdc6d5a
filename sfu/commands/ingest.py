"""`sfu ingest`: the options of a running server around `sfu.ingest.cli`."""

import argparse

from sfu.commands.access import api_requests
from sfu.commands.options import Commands, add_server, add_settings, load_settings
from sfu.ingest import cli as ingest_cli


def add(commands: Commands) -> None:
    ingest = commands.add_parser("ingest", help="create, list and revoke stream keys of encoders on a running server")
    add_settings(ingest)
    add_server(ingest)
    for command in ingest_cli.add_arguments(ingest):
        add_settings(command, default=argparse.SUPPRESS)
        add_server(command, default=argparse.SUPPRESS)
    ingest.set_defaults(run=run)


def run(parsed: argparse.Namespace) -> int:
    settings = load_settings(parsed)
    return ingest_cli.run(parsed, api_requests(settings, parsed, "sfu-ingest"), settings.ingest)
