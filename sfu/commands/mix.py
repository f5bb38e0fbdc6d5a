"""`sfu mix`: mixes recorded tracks into one file. Imports PyAV and numpy when it runs, also for its arguments."""

import argparse

from sfu.commands.options import Commands


def add(commands: Commands) -> None:
    mix = commands.add_parser("mix", help="mix recorded tracks into one file", add_help=False)
    mix.add_argument("rest", nargs=argparse.REMAINDER)
    mix.set_defaults(run=run)


def run(parsed: argparse.Namespace) -> int:
    from sfu.egress import offline_mix

    parser = argparse.ArgumentParser(prog="sfu mix", description="Mixes the recorded tracks of a room into one file.")
    offline_mix.add_arguments(parser)
    return offline_mix.run(parser.parse_args(parsed.rest))
