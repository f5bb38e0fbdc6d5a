"""The command `sfu`: parses arguments and runs one subcommand (commands/).

An expected failure prints one sentence on standard error and exits with status 2; a traceback indicates a bug.
"""

import argparse
import os
import sys
from collections.abc import Sequence

from sfu import __version__
from sfu.commands import bot, config, doctor, drain, egress, ingest, mix, nodes, rooms, serve, token, top
from sfu.errors import SfuError

COMMANDS = (serve, token, rooms, nodes, drain, top, doctor, egress, ingest, mix, config, bot)
"""In the order of `sfu --help`. `add` adds the command with its arguments; it sets `run`, which returns the exit status."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and returns the exit status."""
    parser = _parser()
    arguments = sys.argv[1:] if arguments is None else arguments
    # These commands import aiortc, PyAV or numpy, also for their arguments; other commands must start without them.
    lazy = {"bot": bot.run, "mix": mix.run}
    parsed = (
        argparse.Namespace(run=lazy[arguments[0]], rest=arguments[1:])
        if arguments and arguments[0] in lazy
        else parser.parse_args(arguments)
    )
    parsed.arguments = arguments
    if parsed.run is None:
        parser.print_help()
        return 2
    try:
        status = parsed.run(parsed)
    except SfuError as error:
        print(f"sfu: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The reader has closed the pipe (`sfu config schema | head`). Python must not flush into it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return int(status or 0)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="sfu", description="A WebRTC SFU: meetings through one process and one UDP port."
    )
    parser.add_argument("--version", action="version", version=f"aiosfu {__version__}")
    parser.set_defaults(run=None)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    for command in COMMANDS:
        command.add(commands)
    return parser
