"""`sfu egress`: the options of a running server around `sfu.egress.cli`."""

import argparse

from sfu.commands.access import api_requests
from sfu.commands.options import Commands, add_server, add_settings, load_settings
from sfu.egress import cli as egress_cli


def add(commands: Commands) -> None:
    egress = commands.add_parser("egress", help="stream or record rooms of a running server")
    add_settings(egress)
    add_server(egress)
    for command in egress_cli.add_arguments(egress):  # accepted before and after the subcommand
        add_settings(command, default=argparse.SUPPRESS)
        add_server(command, default=argparse.SUPPRESS)
    egress.set_defaults(run=run)


def run(parsed: argparse.Namespace) -> int:
    settings = load_settings(parsed)
    return egress_cli.run(parsed, api_requests(settings, parsed, "sfu-egress"))
