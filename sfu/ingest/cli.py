"""`sfu ingest`: creates, lists and revokes the stream keys and cameras of a running server through its admin API."""

import argparse
import json
import sys
import urllib.parse
from collections.abc import Callable
from typing import Any

from sfu.auth.grants import VideoGrants
from sfu.ingest.settings import Settings

Request = Callable[..., Any]
"""`(path, *, grants, method, body)` → the decoded response of the API. Raises SfuError."""


def add_arguments(parser: argparse.ArgumentParser) -> tuple[argparse.ArgumentParser, ...]:
    """Returns the parsers of the subcommands, so that the caller can add shared options."""
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True, dest="command")
    create = commands.add_parser("create", help="create a stream key and print it, once; or pull a camera")
    create.add_argument("room", help="room that the encoder publishes into")
    create.add_argument("--identity", default="encoder", help="identity of the participant (default: encoder)")
    create.add_argument("--name", default="", help="display name")
    create.add_argument(
        "--rtsp",
        metavar="URL",
        default="",
        help="pull this camera instead: rtsp://user:password@host/path, or rtsps:// for TLS; - reads it from standard input",
    )
    revoke = commands.add_parser("revoke", help="revoke a stream key and end its stream")
    revoke.add_argument("room")
    revoke.add_argument("ingest", metavar="ID", help="id of the stream key, as `sfu ingest list` prints it")
    listing = commands.add_parser("list", help="list all stream keys with the state of their streams")
    parsers = (create, revoke, listing)
    for command in parsers:
        command.add_argument("--json", action="store_true", help="print the server's response as JSON")
    return parsers


def run(parsed: argparse.Namespace, request: Request, settings: Settings) -> int:
    """Runs one command and returns the exit status. Raises SfuError."""
    room = getattr(parsed, "room", "")
    path = f"/rooms/{urllib.parse.quote(room, safe='')}/ingest"
    grants = VideoGrants(room=room, room_admin=True)
    if parsed.command == "list":
        answer = request("/ingest", grants=VideoGrants(room_list=True))
    elif parsed.command == "create":
        url = sys.stdin.readline().strip() if parsed.rtsp == "-" else parsed.rtsp
        body = {"identity": parsed.identity, "name": parsed.name, "url": url}
        answer = request(path, grants=grants, method="POST", body=body)
    else:
        answer = request(f"{path}/{urllib.parse.quote(parsed.ingest, safe='')}", grants=grants, method="DELETE")
    if parsed.json:
        print(json.dumps(answer, indent=2))
    elif parsed.command == "list":
        for each in answer["ingests"]:
            problem = f"  {each['problem']}" if each["problem"] else ""
            print(f"{each['id']:<16} {each['room']:<32} {each['identity']:<24} {each['state']:<8}{problem}")
    elif parsed.command == "create" and not answer["key"]:
        print(f"camera      {answer['ingest']['id']}  {answer['ingest']['url']}")
    elif parsed.command == "create":
        port = settings.rtmp_port
        address = "" if port is None else f":{port}" if port not in (0, 1935) else ""
        print(f"server      rtmp://HOST{address}/live")
        print(f"stream key  {answer['key']}")
    return 0
