"""The command `sfu`: parses arguments, loads settings and runs one subcommand.

An expected failure prints one sentence on standard error and exits with status 2; a traceback indicates a bug.
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
from collections.abc import Callable, Sequence
from typing import Any

import yaml

from sfu import __version__, config
from sfu.admin.client import AdminClient, own_url
from sfu.auth.grants import VideoGrants
from sfu.auth.tokens import mint
from sfu.egress import cli as egress_cli
from sfu.errors import ConfigurationError, SfuError
from sfu.ingest import cli as ingest_cli

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
"""Flags for common settings; `--set` sets any other one."""

SOURCES = ("camera", "microphone", "screen_share", "screen_share_audio")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and returns the exit status."""
    parser = _parser()
    arguments = sys.argv[1:] if arguments is None else arguments
    # These commands import aiortc, PyAV or numpy, also for their arguments; other commands must start without them.
    lazy = {"bot": _bot, "mix": _mix}
    parsed = (
        argparse.Namespace(run=lazy[arguments[0]], rest=arguments[1:])
        if arguments and arguments[0] in lazy
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

    serve = commands.add_parser("serve", help="run the server")
    _add_settings(serve)
    serve.add_argument("--demo", action="store_true", help="also run a few bots in the room `demo`")
    serve.set_defaults(run=_serve)

    token = commands.add_parser("token", help="create an access token")
    _add_settings(token)
    _add_token_arguments(token)
    token.set_defaults(run=_token)

    rooms = commands.add_parser("rooms", help="list the rooms of a running server, or the participants of one room")
    _add_settings(rooms)
    rooms.add_argument("room", nargs="?", help="list the participants of this room")
    _add_server(rooms)
    rooms.add_argument("--json", action="store_true", help="print the response as JSON")
    rooms.set_defaults(run=_rooms)

    top = commands.add_parser("top", help="monitor a running server: rooms, participants, bit rates, loss, CPU")
    _add_settings(top)
    _add_server(top)
    top.add_argument("--interval", type=float, default=2.0, metavar="SECONDS", help="refresh interval (default: 2)")
    top.add_argument(
        "--count", type=int, default=0, metavar="N", help="number of refreshes (default: until interrupted)"
    )
    top.set_defaults(run=_top)

    doctor = commands.add_parser("doctor", help="diagnose why participants cannot join, and suggest fixes")
    _add_settings(doctor)
    doctor.add_argument(
        "--url", default="", help="URL of a remote server (default: the server that the settings describe)"
    )
    doctor.add_argument("--insecure", action="store_true", help="accept any server certificate")
    doctor.set_defaults(run=_doctor)

    egress = commands.add_parser("egress", help="stream or record rooms of a running server")
    _add_settings(egress)
    _add_server(egress)
    for command in egress_cli.add_arguments(egress):  # accepted before and after the subcommand
        _add_settings(command, default=argparse.SUPPRESS)
        _add_server(command, default=argparse.SUPPRESS)
    egress.set_defaults(run=_egress)

    ingest = commands.add_parser("ingest", help="create, list and revoke stream keys of encoders on a running server")
    _add_settings(ingest)
    _add_server(ingest)
    for command in ingest_cli.add_arguments(ingest):
        _add_settings(command, default=argparse.SUPPRESS)
        _add_server(command, default=argparse.SUPPRESS)
    ingest.set_defaults(run=_ingest)

    mix = commands.add_parser("mix", help="mix recorded tracks into one file", add_help=False)
    mix.add_argument("rest", nargs=argparse.REMAINDER)
    mix.set_defaults(run=_mix)

    _add_config(commands.add_parser("config", help="check, show or describe the configuration"))

    bot = commands.add_parser("bot", help="join a room as a WebRTC client that publishes test media", add_help=False)
    bot.add_argument("rest", nargs=argparse.REMAINDER)
    bot.set_defaults(run=_bot)
    return parser


def _add_server(parser: argparse.ArgumentParser, *, default: str = "") -> None:
    parser.add_argument(
        "--url", default=default, help="URL of the server (default: the server that the settings describe)"
    )
    parser.add_argument(
        "--token", default=default, help="access token (default: created with the first key of the settings)"
    )


def _add_settings(parser: argparse.ArgumentParser, *, default: str | None = None) -> None:
    """`default`: None, or `argparse.SUPPRESS` for a subcommand whose parent takes the same options."""
    group = parser.add_argument_group("settings")
    group.add_argument(
        "--config",
        metavar="FILE",
        default=default,
        help="YAML file (also SFU_CONFIG_FILE, or inline in SFU_CONFIG)",
    )
    for flag, (key, metavar) in NAMED_FLAGS.items():
        group.add_argument(
            flag, dest=f"setting:{key}", metavar=metavar, default=default, help=f"same as --set {key}={metavar}"
        )
    group.add_argument(
        "--set",
        dest="set",
        action="append",
        default=default or [],
        metavar="KEY=VALUE",
        help="set any setting by its dotted key; `sfu config schema` lists all settings",
    )


def _add_token_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--room", default="", help="room that the token grants access to")
    parser.add_argument("--identity", default="", help="identity of the participant; unique in the room")
    parser.add_argument("--name", default="", help="display name")
    parser.add_argument("--metadata", default="")
    parser.add_argument("--key", default="", help="name of the key in the settings (default: the first)")
    parser.add_argument(
        "--lifetime", type=float, default=21_600.0, metavar="SECONDS", help="default: 21600 (six hours)"
    )
    parser.add_argument("--admin", action="store_true", help="may moderate the room")
    parser.add_argument("--create", action="store_true", help="may create and delete rooms with the API")
    parser.add_argument("--list", action="store_true", help="may list rooms with the API")
    parser.add_argument("--record", action="store_true", help="may record the room")
    parser.add_argument("--egress", action="store_true", help="may stream the room: HLS, RTMP, mix as a track")
    parser.add_argument("--hidden", action="store_true", help="invisible to other participants")
    parser.add_argument("--recorder", action="store_true")
    parser.add_argument("--no-publish", action="store_true")
    parser.add_argument("--no-subscribe", action="store_true")
    parser.add_argument("--no-data", action="store_true")
    parser.add_argument(
        "--no-update-metadata", action="store_true", help="may not change its own name, metadata and attributes"
    )
    parser.add_argument(
        "--source", action="append", default=[], choices=SOURCES, help="allowed source (repeatable; default: all)"
    )


def _add_config(parser: argparse.ArgumentParser) -> None:
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name, run, description in (
        ("check", _config_check, "validate the settings"),
        ("show", _config_show, "print the effective settings, without secrets"),
        ("schema", _config_schema, "print the JSON Schema of the configuration file"),
        ("bounds", _config_bounds, "print the limit of every queue, buffer and cache, and the memory of all together"),
    ):
        command = commands.add_parser(name, help=description)
        _add_settings(command)
        command.set_defaults(run=run)


def _settings(parsed: argparse.Namespace) -> config.Settings:
    flags = {name.removeprefix("setting:"): text for name, text in vars(parsed).items() if name.startswith("setting:")}
    given = [(key, text) for key, text in flags.items() if text is not None]
    for pair in parsed.set:
        key, separator, text = pair.partition("=")
        if not separator:
            raise ConfigurationError(f"--set {key}: write the value after an equals sign, as in --set http.port=8080.")
        given.append((key.strip(), text))
    return config.load(file=parsed.config, environment=os.environ, flags=given)


def _serve(parsed: argparse.Namespace) -> int:
    settings = _settings(parsed)
    from sfu import app

    app.run(settings, demo=parsed.demo, reload=lambda: _settings(parsed))
    return 0


def _token(parsed: argparse.Namespace) -> int:
    if not parsed.identity and not (parsed.admin or parsed.create or parsed.list or parsed.record or parsed.egress):
        raise ConfigurationError("--identity is required for a token that joins a room.")
    if not parsed.room and not (parsed.create or parsed.list):
        raise ConfigurationError("--room is required: a token grants access to one room.")
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
            f"auth.keys has no key named {name}."
            if name
            else "auth.keys is empty: a token needs a key. A server in development mode issues its own tokens."
        )
    lifetime = float(getattr(parsed, "lifetime", 60.0))
    if not 0 < lifetime <= settings.auth.max_lifetime:
        raise ConfigurationError(
            f"--lifetime must be greater than 0 and at most auth.max_lifetime, {settings.auth.max_lifetime:g} seconds."
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
        raise ConfigurationError("--interval must be greater than 0.")
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
    return egress_cli.run(parsed, _requests(settings, parsed, "sfu-egress"))


def _ingest(parsed: argparse.Namespace) -> int:
    settings = _settings(parsed)
    return ingest_cli.run(parsed, _requests(settings, parsed, "sfu-ingest"), settings.ingest)


def _requests(settings: config.Settings, parsed: argparse.Namespace, identity: str) -> Callable[..., Any]:
    """A function that calls the admin API with a token for the grants of the request."""
    server = AdminClient(parsed.url, settings.http)

    def request(path: str, *, grants: VideoGrants, method: str = "GET", body: object = None) -> Any:
        token = parsed.token
        if not token and settings.auth.development:
            token = server.development_token(identity, grants.room)
        token = token or _mint(settings, grants, parsed)
        return server.request(f"/api/v1{path}", token=token, body=body, method=method)

    return request


def _mix(parsed: argparse.Namespace) -> int:
    from sfu.egress import offline_mix

    parser = argparse.ArgumentParser(prog="sfu mix", description="Mixes the recorded tracks of a room into one file.")
    offline_mix.add_arguments(parser)
    return offline_mix.run(parser.parse_args(parsed.rest))


def _config_check(parsed: argparse.Namespace) -> int:
    settings = _settings(parsed)
    from sfu.api.tls import TlsContext
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

    parser = argparse.ArgumentParser(prog="sfu bot", description="Joins a room as a WebRTC client.")
    cli.add_arguments(parser)
    return int(cli.run(parser.parse_args(parsed.rest)) or 0)
