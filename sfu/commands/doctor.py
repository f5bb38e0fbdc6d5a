"""`sfu doctor`: diagnoses why participants cannot join."""

import argparse

from sfu.admin.client import own_url
from sfu.commands.options import Commands, add_settings, load_settings


def add(commands: Commands) -> None:
    doctor = commands.add_parser("doctor", help="diagnose why participants cannot join, and suggest fixes")
    add_settings(doctor)
    doctor.add_argument(
        "--url", default="", help="URL of a remote server (default: the server that the settings describe)"
    )
    doctor.add_argument("--insecure", action="store_true", help="accept any server certificate")
    doctor.set_defaults(run=run)


def run(parsed: argparse.Namespace) -> int:
    settings = load_settings(parsed)
    from sfu.admin import doctor

    url = (parsed.url or own_url(settings.http)).rstrip("/")
    return doctor.run(doctor.examine(settings, url, local=not parsed.url, insecure=parsed.insecure or not parsed.url))
