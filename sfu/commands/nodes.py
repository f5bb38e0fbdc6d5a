"""`sfu nodes`: lists the nodes of a cluster."""

import argparse
import json
from collections.abc import Mapping, Sequence
from typing import Any

from sfu.auth.grants import VideoGrants
from sfu.commands.access import api_requests
from sfu.commands.options import Commands, add_server, add_settings, load_settings

HEADER = ("NODE", "URL", "LOAD", "ROOMS", "PARTICIPANTS", "VERSION", "DRAINING", "AGE")


def add(commands: Commands) -> None:
    nodes = commands.add_parser("nodes", help="list the nodes of a cluster")
    add_settings(nodes)
    add_server(nodes)
    nodes.add_argument("--json", action="store_true", help="print the response as JSON")
    nodes.set_defaults(run=run)


def run(parsed: argparse.Namespace) -> int:
    request = api_requests(load_settings(parsed), parsed, "sfu-nodes")
    answer = request("/nodes", grants=VideoGrants(room_list=True))
    if parsed.json:
        print(json.dumps(answer, indent=2))
        return 0
    rows = [HEADER, *map(_row, answer["nodes"])]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    return 0


def _row(node: Mapping[str, Any]) -> Sequence[str]:
    return (
        node["id"],
        node["url"],
        f"{node['load']:.0%}",
        str(node["rooms"]),
        str(node["participants"]),
        node["version"],
        "yes" if node["draining"] else "no",
        duration(node["age"]),
    )


def duration(seconds: float) -> str:
    """With one unit, e.g. `5m`, as `kubectl` prints ages."""
    for unit, size in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds >= 2 * size:
            return f"{seconds // size:.0f}{unit}"
    return f"{seconds:.0f}s"
