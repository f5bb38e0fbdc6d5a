"""`sfu bot`: joins a room as a WebRTC client. Imports aiortc when it runs, also for its arguments."""

import argparse

from sfu.commands.options import Commands


def add(commands: Commands) -> None:
    bot = commands.add_parser("bot", help="join a room as a WebRTC client that publishes test media", add_help=False)
    bot.add_argument("rest", nargs=argparse.REMAINDER)
    bot.set_defaults(run=run)


def run(parsed: argparse.Namespace) -> int:
    from sfu.bots import cli

    parser = argparse.ArgumentParser(prog="sfu bot", description="Joins a room as a WebRTC client.")
    cli.add_arguments(parser)
    return int(cli.run(parser.parse_args(parsed.rest)) or 0)
