"""`sfu serve`: runs the server."""

import argparse

from sfu.commands.options import Commands, add_settings, load_settings


def add(commands: Commands) -> None:
    serve = commands.add_parser("serve", help="run the server")
    add_settings(serve)
    serve.add_argument("--demo", action="store_true", help="also run a few bots in the room `demo`")
    serve.set_defaults(run=run)


def run(parsed: argparse.Namespace) -> int:
    settings = load_settings(parsed)
    from sfu import app

    app.run(settings, demo=parsed.demo, reload=lambda: load_settings(parsed))
    return 0
