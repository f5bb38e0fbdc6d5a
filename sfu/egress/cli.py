"""`sfu egress`: starts, changes, stops and lists the egress jobs of a running server through its admin API."""

import argparse
import json
import urllib.parse
from collections.abc import Callable
from typing import Any, get_args

from sfu.auth.grants import VideoGrants
from sfu.errors import ConfigurationError
from sfu.rooms.egress_status import LayoutName

Request = Callable[..., Any]
"""`(path, *, grants, method, body)` → the decoded response of the API. Raises SfuError."""


def add_arguments(parser: argparse.ArgumentParser) -> tuple[argparse.ArgumentParser, ...]:
    """Returns the parsers of the subcommands, so that the caller can add shared options."""
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True, dest="command")
    start = commands.add_parser("start", help="start a live stream, a recording or a push of a room")
    start.add_argument("--live", action="store_true", help="live stream at /watch/ROOM")
    start.add_argument("--record", action="store_true", help="record the mix on the server")
    start.add_argument("--tracks", action="store_true", help="record each track to its own file, without mixing")
    start.add_argument("--track", action="store_true", help="publish the mix into the room as a participant")
    start.add_argument(
        "--rtmp", action="append", default=[], metavar="URL", help="push to an RTMP server; may be repeated"
    )
    start.add_argument(
        "--renditions",
        default="",
        metavar="NAMES",
        help="renditions to encode, for example 720p,480p (default: all that the server offers)",
    )
    _add_layout(start, required=False)
    stop = commands.add_parser("stop", help="stop a room's egress, or only some of its outputs")
    stop.add_argument("--live", action="store_true", help="stop only the live stream")
    stop.add_argument("--record", action="store_true", help="stop only the recording")
    stop.add_argument("--tracks", action="store_true", help="stop only the track recording")
    stop.add_argument("--track", action="store_true", help="stop only the participant that publishes the mix")
    stop.add_argument("--destination", default="", metavar="ID", help="stop only this RTMP destination")
    layout = commands.add_parser("layout", help="change the layout of a room's egress")
    _add_layout(layout, required=True)
    status = commands.add_parser("status", help="show a room's egress")
    recordings = commands.add_parser("recordings", help="list a room's recordings")
    for command in (start, stop, layout, status, recordings):
        command.add_argument("room")
    listing = commands.add_parser("list", help="list the egress jobs of all rooms")
    parsers = (start, stop, layout, status, recordings, listing)
    for command in parsers:
        command.add_argument("--json", action="store_true", help="print the server's response as JSON")
    return parsers


def _add_layout(parser: argparse.ArgumentParser, *, required: bool) -> None:
    group = parser.add_mutually_exclusive_group(required=required)
    group.add_argument("--layout", choices=get_args(LayoutName))
    group.add_argument("--scene", metavar="FILE", help="JSON scene with rectangles, labels and images")
    parser.add_argument("--focus", default=None, metavar="ID", help="participant to show in the large tile")


def run(parsed: argparse.Namespace, request: Request) -> int:
    """Runs one command and returns the exit status. Raises SfuError."""
    room = getattr(parsed, "room", "")
    path = f"/rooms/{urllib.parse.quote(room, safe='')}"
    grants = VideoGrants(room=room, room_record=True, room_egress=True)
    answer: Any = None
    match parsed.command:
        case "list":
            answer = request("/egress", grants=VideoGrants(room_list=True))
            if not parsed.json:
                for each in answer["egress"]:
                    print(_line(each))
                return 0
        case "status":
            answer = request(f"{path}/egress", grants=grants)
        case "recordings":
            answer = request(f"{path}/recordings", grants=grants)
            if not parsed.json:
                for each in answer["recordings"]:
                    size = sum(file["size"] for file in each["files"])
                    print(f"{each['name']:<56} {size / 1e6:>9.1f} MB  {each['directory']}")
                return 0
        case "start":
            answer = _start(parsed, request, path, grants)
        case "stop":
            answer = _stop(parsed, request, path, grants)
        case "layout":
            answer = _layout(parsed, request, path, grants)
    if parsed.json:
        print(json.dumps(answer, indent=2))
    elif answer is not None:
        print(_line(answer))
    return 0


def _start(parsed: argparse.Namespace, request: Request, path: str, grants: VideoGrants) -> Any:
    if not (parsed.live or parsed.record or parsed.track or parsed.rtmp or parsed.tracks):
        raise ConfigurationError("sfu egress start requires --live, --record, --track, --tracks or --rtmp.")
    if parsed.tracks:
        request(f"{path}/egress/tracks", grants=grants, method="PUT", body={})
    body: dict[str, Any] = {}
    body |= {"live": True} if parsed.live else {}
    body |= {"recording": True} if parsed.record else {}
    body |= {"track": True} if parsed.track else {}
    body |= {"layout": parsed.layout} if parsed.layout else {}
    body |= {"focus": parsed.focus} if parsed.focus is not None else {}
    if parsed.renditions:
        body["renditions"] = [name.strip() for name in parsed.renditions.split(",")]
    answer: Any = None
    if parsed.live or parsed.record or parsed.track:
        answer = request(f"{path}/egress", grants=grants, method="PUT", body=body)
    for url in parsed.rtmp:
        answer = request(f"{path}/egress/destinations", grants=grants, method="POST", body={"url": url})
    if parsed.scene:
        answer = _scene(parsed, request, path, grants)
    return answer


def _stop(parsed: argparse.Namespace, request: Request, path: str, grants: VideoGrants) -> Any:
    body = {name: False for name, selected in _parts(parsed) if selected}
    if parsed.destination:
        request(
            f"{path}/egress/destinations/{urllib.parse.quote(parsed.destination, safe='')}",
            grants=grants,
            method="DELETE",
        )
    elif parsed.tracks:
        request(f"{path}/egress/tracks", grants=grants, method="DELETE")
    elif not body:
        request(f"{path}/egress", grants=grants, method="DELETE")
    if body:
        return request(f"{path}/egress", grants=grants, method="PUT", body=body)
    return None


def _parts(parsed: argparse.Namespace) -> list[tuple[str, bool]]:
    return [("live", parsed.live), ("recording", parsed.record), ("track", parsed.track)]


def _layout(parsed: argparse.Namespace, request: Request, path: str, grants: VideoGrants) -> Any:
    if parsed.scene:
        return _scene(parsed, request, path, grants)
    body = {"layout": parsed.layout, "focus": parsed.focus or ""}
    return request(f"{path}/egress/layout", grants=grants, method="PUT", body=body)


def _scene(parsed: argparse.Namespace, request: Request, path: str, grants: VideoGrants) -> Any:
    try:
        with open(parsed.scene, encoding="utf-8") as file:
            scene = json.load(file)
    except OSError as error:
        raise ConfigurationError(f"--scene {parsed.scene} cannot be read: {error.strerror}.") from None
    except ValueError:
        raise ConfigurationError(f"--scene {parsed.scene} is not JSON.") from None
    return request(f"{path}/egress/scene", grants=grants, method="PUT", body={"scene": scene})


def _line(egress: dict[str, Any]) -> str:
    outputs = [word for word, on in (("live", egress["live"]), ("recording", egress["recording"])) if on]
    outputs += ["track"] if egress["track"] else []
    outputs += [f"{one['host']} ({one['state']})" for one in egress["destinations"]]
    problem = f"  {egress['problem']}" if egress["problem"] else ""
    return f"{egress['room']:<32} {egress['layout']:<12} {', '.join(outputs)}{problem}"
