"""The command `sfu`: arguments to settings, and from there to the part that does the work.

What goes wrong is said in one sentence on standard error, with exit status 2; a traceback is a bug of ours.
"""

import argparse
import json
import os
import secrets
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Sequence
from typing import Any

import yaml

from sfu import __version__, config
from sfu.admin.client import AdminClient, own_url
from sfu.auth.grants import VideoGrants
from sfu.auth.tokens import mint
from sfu.egress import cli as egress_cli
from sfu.errors import ConfigurationError, SfuError

NAMED_FLAGS = {
    "--host": ("http.host", "ADDRESS"),
    "--port": ("http.port", "PORT"),
    "--tls-certificate": ("http.tls_certificate", "FILE"),
    "--tls-key": ("http.tls_key", "FILE"),
    "--keys-file": ("auth.keys_file", "FILE"),
    "--udp-port": ("rtc.udp_port", "PORT"),
    "--log-level": ("log.level", "LEVEL"),
    "--log-format": ("log.format", "FORMAT"),
}
"""Short names of common settings; every other one is set by `--set`."""

SOURCES = ("camera", "microphone", "screen_share", "screen_share_audio")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and returns the exit status."""
    parser = _parser()
    arguments = sys.argv[1:] if arguments is None else arguments
    # The bots bring aiortc and PyAV: loaded, even for their arguments, only for the command that needs them.
    apart = {"bot": _bot, "mix": _mix}
    parsed = (
        argparse.Namespace(run=apart[arguments[0]], rest=arguments[1:])
        if arguments and arguments[0] in apart
        else parser.parse_args(arguments)
    )
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
        # `sfu config schema | head`: the reader has enough. Nothing may be flushed into the pipe at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return int(status or 0)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="sfu", description="A media SFU: meetings through one process and one UDP port."
    )
    parser.add_argument("--version", action="version", version=f"aiosfu {__version__}")
    parser.set_defaults(run=None)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")

    serve = commands.add_parser("serve", help="run the server")
    _add_settings(serve)
    serve.add_argument("--demo", action="store_true", help="also run a few bots in a room called demo")
    serve.set_defaults(run=_serve)

    token = commands.add_parser("token", help="make an access token")
    _add_settings(token)
    _add_token_arguments(token)
    token.set_defaults(run=_token)

    rooms = commands.add_parser("rooms", help="list the rooms of a running server, or the people in one")
    _add_settings(rooms)
    rooms.add_argument("room", nargs="?", help="list the participants of this room")
    _add_server(rooms)
    rooms.add_argument("--json", action="store_true", help="print what the server answered")
    rooms.set_defaults(run=_rooms)

    top = commands.add_parser("top", help="watch a running server: rooms, people, bit rates, loss, CPU")
    _add_settings(top)
    _add_server(top)
    top.add_argument("--interval", type=float, default=2.0, metavar="SECONDS", help="default: 2")
    top.add_argument("--count", type=int, default=0, metavar="N", help="look so many times; default: until interrupted")
    top.set_defaults(run=_top)

    doctor = commands.add_parser("doctor", help="find what keeps people out of a meeting, and say what to do about it")
    _add_settings(doctor)
    doctor.add_argument(
        "--url", default="", help="a server elsewhere; by default the one of this machine and its settings"
    )
    doctor.add_argument("--insecure", action="store_true", help="accept any certificate of the server")
    doctor.set_defaults(run=_doctor)

    egress = commands.add_parser("egress", help="show rooms of a running server to others, or record them")
    _add_settings(egress)
    _add_server(egress)
    for command in egress_cli.add_arguments(egress):  # before the command's name or behind it
        _add_settings(command, default=argparse.SUPPRESS)
        _add_server(command, default=argparse.SUPPRESS)
    egress.set_defaults(run=_egress)

    # Mixing imports PyAV and numpy, so its arguments are parsed only on request.
    mix = commands.add_parser("mix", help="mix recorded tracks into one recording", add_help=False)
    mix.add_argument("rest", nargs=argparse.REMAINDER)
    mix.set_defaults(run=_mix)

    _add_config(commands.add_parser("config", help="check, show or describe the configuration"))

    # The bots bring aiortc and PyAV: loaded only for the command that needs them.
    bot = commands.add_parser(
        "bot", help="join a room as a WebRTC client that publishes a test picture", add_help=False
    )
    bot.add_argument("rest", nargs=argparse.REMAINDER)
    bot.set_defaults(run=_bot)
    return parser


def _add_server(parser: argparse.ArgumentParser, *, default: str = "") -> None:
    parser.add_argument("--url", default=default, help="the server, by default the one that the settings describe")
    parser.add_argument("--token", default=default, help="by default one made with the first key of the settings")


def _add_settings(parser: argparse.ArgumentParser, *, default: str | None = None) -> None:
    """`default`: None, or `argparse.SUPPRESS` for a command within one that takes the same."""
    group = parser.add_argument_group("settings")
    words = "YAML file (also SFU_CONFIG_FILE, or inline in SFU_CONFIG)"
    group.add_argument("--config", metavar="FILE", default=default, help=words)
    for flag, (key, metavar) in NAMED_FLAGS.items():
        words = f"same as --set {key}={metavar}"
        group.add_argument(flag, dest=f"setting:{key}", metavar=metavar, default=default, help=words)
    group.add_argument(
        "--set",
        dest="set",
        action="append",
        default=default or [],
        metavar="KEY=VALUE",
        help="any setting by its dotted key; `sfu config schema` lists them",
    )


def _add_token_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--room", default="", help="the room that the token is for")
    parser.add_argument("--identity", default="", help="who the bearer is; unique in the room")
    parser.add_argument("--name", default="", help="the name that others see")
    parser.add_argument("--metadata", default="")
    parser.add_argument("--key", default="", help="name of the key in the settings, by default the first")
    parser.add_argument("--lifetime", type=float, default=21_600.0, metavar="SECONDS", help="default: six hours")
    parser.add_argument("--admin", action="store_true", help="may moderate the room")
    parser.add_argument("--create", action="store_true", help="may create and delete rooms by the API")
    parser.add_argument("--list", action="store_true", help="may list rooms by the API")
    parser.add_argument("--record", action="store_true", help="may have the room recorded")
    parser.add_argument("--egress", action="store_true", help="may show the room to others: live, by RTMP")
    parser.add_argument("--hidden", action="store_true", help="the others do not see the bearer")
    parser.add_argument("--recorder", action="store_true")
    parser.add_argument("--no-publish", action="store_true")
    parser.add_argument("--no-subscribe", action="store_true")
    parser.add_argument("--no-data", action="store_true")
    parser.add_argument(
        "--no-update-metadata", action="store_true", help="may not change its own name, metadata and attributes"
    )
    parser.add_argument("--source", action="append", default=[], choices=SOURCES, help="only these; may be repeated")


def _add_config(parser: argparse.ArgumentParser) -> None:
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name, run, words in (
        ("check", _config_check, "say what is wrong with the settings, if anything"),
        ("show", _config_show, "print the settings in force, without secrets"),
        ("schema", _config_schema, "print the JSON Schema of the configuration file"),
        ("bounds", _config_bounds, "print what may be kept at most of everything, and the memory that this adds up to"),
    ):
        command = commands.add_parser(name, help=words)
        _add_settings(command)
        command.set_defaults(run=run)


def _settings(parsed: argparse.Namespace) -> config.Settings:
    flags = {name.removeprefix("setting:"): word for name, word in vars(parsed).items() if name.startswith("setting:")}
    given = [(key, word) for key, word in flags.items() if word is not None]
    for pair in parsed.set:
        key, separator, word = pair.partition("=")
        if not separator:
            raise ConfigurationError(f"--set {key}: write the value behind an equals sign, as in --set http.port=8080.")
        given.append((key.strip(), word))
    return config.load(file=parsed.config, environment=os.environ, flags=given)


def _serve(parsed: argparse.Namespace) -> int:
    settings = _settings(parsed)
    from sfu import app

    app.run(settings, demo=parsed.demo, reload=lambda: _settings(parsed))
    return 0


def _token(parsed: argparse.Namespace) -> int:
    if not parsed.identity and not (parsed.admin or parsed.create or parsed.list or parsed.record or parsed.egress):
        raise ConfigurationError("--identity is needed for a token that joins a room.")
    if not parsed.room and not (parsed.create or parsed.list):
        raise ConfigurationError("--room is needed: a token is for one room.")
    grants = VideoGrants(
        room=parsed.room,
        room_join=bool(parsed.room and parsed.identity),
        room_admin=parsed.admin,
        room_create=parsed.create,
        room_list=parsed.list,
        can_publish=not parsed.no_publish,
        can_subscribe=not parsed.no_subscribe,
        can_publish_data=not parsed.no_data,
        can_update_own_metadata=not parsed.no_update_metadata,
        can_publish_sources=tuple(parsed.source),
        hidden=parsed.hidden,
        recorder=parsed.recorder,
        room_record=parsed.record,
        room_egress=parsed.egress,
    )
    print(_mint(_settings(parsed), grants, parsed))
    return 0


def _mint(settings: config.Settings, grants: VideoGrants, parsed: argparse.Namespace) -> str:
    keys = settings.auth.keys
    name = getattr(parsed, "key", "") or next(iter(keys), "")
    if name not in keys:
        raise ConfigurationError(
            f"auth.keys has no key called {name}."
            if name
            else "auth.keys is empty: a token needs a key, and a development server hands out its own."
        )
    lifetime = float(getattr(parsed, "lifetime", 60.0))
    if not 0 < lifetime <= settings.auth.max_lifetime:
        raise ConfigurationError(
            f"--lifetime must be above 0 and at most auth.max_lifetime, {settings.auth.max_lifetime:g} seconds."
        )
    return mint(
        name,
        keys[name],
        identity=getattr(parsed, "identity", ""),
        name=getattr(parsed, "name", ""),
        metadata=getattr(parsed, "metadata", ""),
        video=grants,
        now=time.time(),
        lifetime=lifetime,
        token_id=secrets.token_hex(16),
    )


def _rooms(parsed: argparse.Namespace) -> int:
    settings = _settings(parsed)
    server = AdminClient(parsed.url, settings.http)
    room = parsed.room or ""
    token = parsed.token
    if not token and settings.auth.development:
        token = server.development_token("sfu-rooms", room)
    elif not token:
        token = _mint(settings, VideoGrants(room=room, room_admin=bool(room), room_list=True), parsed)
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


def _top(parsed: argparse.Namespace) -> int:
    if not parsed.interval > 0:
        raise ConfigurationError("--interval is above 0.")
    settings = _settings(parsed)
    server = AdminClient(parsed.url, settings.http)
    from sfu.admin import top

    def token() -> str:
        if parsed.token:
            return str(parsed.token)
        if settings.auth.development:
            return server.development_token("sfu-top")
        return _mint(settings, VideoGrants(room_list=True), parsed)

    def rooms() -> list[top.Room]:
        found = server.request("/api/v1/rooms", token=token())["rooms"]
        return [top.Room(each["name"], each["participants"], each["waiting"], each["tracks"]) for each in found]

    top.run(lambda: server.text("/metrics"), rooms, interval=parsed.interval, count=parsed.count)
    return 0


def _doctor(parsed: argparse.Namespace) -> int:
    settings = _settings(parsed)
    from sfu.admin import doctor

    url = (parsed.url or own_url(settings.http)).rstrip("/")
    return doctor.run(doctor.examine(settings, url, local=not parsed.url, insecure=parsed.insecure or not parsed.url))


def _egress(parsed: argparse.Namespace) -> int:
    settings = _settings(parsed)
    server = AdminClient(parsed.url, settings.http)

    def request(path: str, *, grants: VideoGrants, method: str = "GET", body: object = None) -> Any:
        token = parsed.token
        if not token and settings.auth.development:
            token = server.development_token("sfu-egress", grants.room)
        token = token or _mint(settings, grants, parsed)
        return server.request(f"/api/v1{path}", token=token, body=body, method=method)

    return egress_cli.run(parsed, request)


def _mix(parsed: argparse.Namespace) -> int:
    from sfu.egress import offline_mix

    parser = argparse.ArgumentParser(prog="sfu mix", description="Makes a programme of a room's recorded tracks.")
    offline_mix.add_arguments(parser)
    return offline_mix.run(parser.parse_args(parsed.rest))


def _config_check(parsed: argparse.Namespace) -> int:
    settings = _settings(parsed)
    from sfu.api.server import TlsContext
    from sfu.auth.origins import Origins
    from sfu.auth.tokens import Verifier
    from sfu.transport.webrtc_server import announced

    Verifier.from_settings(settings.auth)
    Origins(settings.http.allowed_origins)
    Origins(settings.outputs.hls.origins, setting="outputs.hls.origins")
    announced(settings.rtc)
    if settings.http.tls_certificate:
        TlsContext(settings.http.tls_certificate, settings.http.tls_key)
    mode = ", development mode: auth.keys is empty" if settings.auth.development else ""
    print(f"The configuration is valid{mode}.")
    return 0


def _config_show(parsed: argparse.Namespace) -> int:
    print(yaml.safe_dump(config.shown(_settings(parsed)), sort_keys=False, allow_unicode=True), end="")
    return 0


def _config_bounds(parsed: argparse.Namespace) -> int:
    from sfu.admin import bounds

    settings = _settings(parsed)
    print(*bounds.rows(settings), "", bounds.summary(settings), sep="\n")
    return 0


def _config_schema(parsed: argparse.Namespace) -> int:
    print(json.dumps(config.schema(), indent=2))
    return 0


def _bot(parsed: argparse.Namespace) -> int:
    from sfu.bots import cli

    parser = argparse.ArgumentParser(prog="sfu bot", description="Joins a room as a real WebRTC client.")
    cli.add_arguments(parser)
    return int(cli.run(parser.parse_args(parsed.rest)) or 0)
