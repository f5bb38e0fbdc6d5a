"""`sfu top`: monitors a running server."""

import argparse

from sfu.admin.client import AdminClient
from sfu.auth.grants import VideoGrants
from sfu.commands.access import mint_token
from sfu.commands.options import Commands, add_server, add_settings, load_settings
from sfu.errors import ConfigurationError


def add(commands: Commands) -> None:
    top = commands.add_parser("top", help="monitor a running server: rooms, participants, bit rates, loss, CPU")
    add_settings(top)
    add_server(top)
    top.add_argument("--interval", type=float, default=2.0, metavar="SECONDS", help="refresh interval (default: 2)")
    top.add_argument(
        "--count", type=int, default=0, metavar="N", help="number of refreshes (default: until interrupted)"
    )
    top.set_defaults(run=run)


def run(parsed: argparse.Namespace) -> int:
    if not parsed.interval > 0:
        raise ConfigurationError("--interval must be greater than 0.")
    settings = load_settings(parsed)
    server = AdminClient(parsed.url, settings.http)
    from sfu.admin import top

    def token() -> str:
        if parsed.token:
            return str(parsed.token)
        if settings.auth.development:
            return server.development_token("sfu-top")
        return mint_token(settings, VideoGrants(room_list=True), parsed)

    def rooms() -> list[top.Room]:
        found = server.request("/api/v1/rooms", token=token())["rooms"]
        return [top.Room(each["name"], each["participants"], each["waiting"], each["tracks"]) for each in found]

    top.run(lambda: server.text("/metrics"), rooms, interval=parsed.interval, count=parsed.count)
    return 0
