"""`sfu rooms`: lists the rooms of a running server or the participants of one, or moves a room to another node."""

import argparse
import json
import urllib.parse
from collections.abc import Sequence

from sfu import config
from sfu.auth.grants import VideoGrants
from sfu.commands.access import OPERATOR, api_requests
from sfu.commands.options import Commands, add_server, add_settings, load_settings
from sfu.errors import ConfigurationError

MOVE = "move"


def add(commands: Commands) -> None:
    rooms = commands.add_parser(
        "rooms",
        help="list the rooms of a running server or the participants of one room; move a room to another node",
        usage="%(prog)s [options] [ROOM | move ROOM [NODE]]",
    )
    add_settings(rooms)
    rooms.add_argument("rooms", nargs="*", metavar="ROOM", help="list the participants of this room")
    add_server(rooms)
    rooms.add_argument("--json", action="store_true", help="print the response as JSON")
    rooms.set_defaults(run=run)


def run(parsed: argparse.Namespace) -> int:
    settings = load_settings(parsed)
    arguments: Sequence[str] = parsed.rooms
    if len(arguments) > 1:
        if arguments[0] != MOVE or len(arguments) > 3:
            raise ConfigurationError("sfu rooms takes one room, or `move ROOM [NODE]`.")
        return _move(settings, parsed, *arguments[1:])
    return _list(settings, parsed, *arguments)


def _list(settings: config.Settings, parsed: argparse.Namespace, room: str = "") -> int:
    path = f"/{urllib.parse.quote(room, safe='')}/participants" if room else ""
    grants = VideoGrants(room=room, room_admin=bool(room), room_list=True)
    answer = api_requests(settings, parsed, "sfu-rooms")(f"/rooms{path}", grants=grants)
    if parsed.json:
        print(json.dumps(answer, indent=2))
    elif room:
        for participant in answer["participants"]:
            tracks = ", ".join(track["source"] for track in participant["tracks"])
            print(f"{participant['identity']:<32} {participant['name']:<32} {tracks}")
    else:
        for each in answer["rooms"]:
            count = each["participants"]
            print(f"{each['name']:<32} {count:>5} {'participant' if count == 1 else 'participants'}")
    return 0


def _move(settings: config.Settings, parsed: argparse.Namespace, room: str, node: str = "") -> int:
    path = f"/rooms/{urllib.parse.quote(room, safe='')}/move"
    answer = api_requests(settings, parsed, "sfu-rooms")(path, grants=OPERATOR, method="POST", body={"node": node})
    print(json.dumps(answer, indent=2) if parsed.json else f"{room} is on {answer['id']} now.")
    return 0
