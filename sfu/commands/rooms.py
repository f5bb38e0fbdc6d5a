"""`sfu rooms`: lists the rooms of a running server, or the participants of one."""

import argparse
import json
import urllib.parse

from sfu.admin.client import AdminClient
from sfu.auth.grants import VideoGrants
from sfu.commands.access import mint_token
from sfu.commands.options import Commands, add_server, add_settings, load_settings


def add(commands: Commands) -> None:
    rooms = commands.add_parser("rooms", help="list the rooms of a running server, or the participants of one room")
    add_settings(rooms)
    rooms.add_argument("room", nargs="?", help="list the participants of this room")
    add_server(rooms)
    rooms.add_argument("--json", action="store_true", help="print the response as JSON")
    rooms.set_defaults(run=run)


def run(parsed: argparse.Namespace) -> int:
    settings = load_settings(parsed)
    server = AdminClient(parsed.url, settings.http)
    room = parsed.room or ""
    token = parsed.token
    if not token and settings.auth.development:
        token = server.development_token("sfu-rooms", room)
    elif not token:
        token = mint_token(settings, VideoGrants(room=room, room_admin=bool(room), room_list=True), parsed)
    path = f"/{urllib.parse.quote(room, safe='')}/participants" if room else ""
    answer = server.request(f"/api/v1/rooms{path}", token=token)
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
