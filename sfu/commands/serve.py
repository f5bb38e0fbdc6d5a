"""`sfu serve`: runs the server."""

import argparse
import os

from sfu.commands.options import Commands, add_settings, load_settings


def add(commands: Commands) -> None:
    serve = commands.add_parser("serve", help="run the server")
    add_settings(serve)
    serve.add_argument("--demo", action="store_true", help="also run a few bots in the room `demo`")
    serve.add_argument(
        "--workers",
        type=int,
        default=0,
        metavar="N",
        help="run N worker processes, e.g. one per core (default: one process)",
    )
    serve.set_defaults(run=run)


def run(parsed: argparse.Namespace) -> int:
    settings = load_settings(parsed)
    from sfu import workers

    place = workers.place_of(os.environ)
    if parsed.workers and place is None:
        return workers.run(settings, parsed.workers, parsed.arguments)
    from sfu import app

    if place is None:
        app.run(settings, demo=parsed.demo, reload=lambda: load_settings(parsed))
    else:
        workers.end_with_parent(place)
        worker = place
        app.run(
            workers.worker_settings(settings, place),
            demo=parsed.demo and place.number == 1,
            reload=lambda: workers.worker_settings(load_settings(parsed), worker),
        )
    return 0
