"""`sfu token`: creates an access token."""

import argparse

from sfu.auth.grants import VideoGrants
from sfu.commands.access import mint_token
from sfu.commands.options import Commands, add_settings, load_settings
from sfu.errors import ConfigurationError

SOURCES = ("camera", "microphone", "screen_share", "screen_share_audio")


def add(commands: Commands) -> None:
    token = commands.add_parser("token", help="create an access token")
    add_settings(token)
    _add_arguments(token)
    token.set_defaults(run=run)


def _add_arguments(parser: argparse.ArgumentParser) -> None:
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


def run(parsed: argparse.Namespace) -> int:
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
    print(mint_token(load_settings(parsed), grants, parsed))
    return 0
