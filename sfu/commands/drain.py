"""`sfu drain`: moves the rooms of a node to other nodes, and waits until it is empty."""

import argparse
import socket
import time
import urllib.parse

from sfu.auth.grants import VideoGrants
from sfu.commands.access import OPERATOR, api_requests
from sfu.commands.options import Commands, add_server, add_settings, load_settings
from sfu.errors import ConfigurationError, SfuError

POLL_INTERVAL = 0.5


def add(commands: Commands) -> None:
    drain = commands.add_parser("drain", help="move the rooms of a node to other nodes, and wait until it is empty")
    add_settings(drain)
    drain.add_argument("node", nargs="?", metavar="NODE", help="id of the node (default: that of the settings)")
    add_server(drain)
    drain.add_argument("--timeout", type=float, default=60.0, metavar="SECONDS", help="longest wait (default: 60)")
    drain.add_argument("--undo", action="store_true", help="let the node take rooms again")
    drain.set_defaults(run=run)


def run(parsed: argparse.Namespace) -> int:
    if not parsed.timeout >= 0:
        raise ConfigurationError("--timeout must not be negative.")
    settings = load_settings(parsed)
    node = parsed.node or settings.cluster.node_id or socket.gethostname()
    path = f"/nodes/{urllib.parse.quote(node, safe='')}"
    request = api_requests(settings, parsed, "sfu-drain")
    if parsed.undo:
        request(f"{path}/drain", grants=OPERATOR, method="DELETE")
        print(f"{node} takes rooms again.")
        return 0
    deadline = time.monotonic() + parsed.timeout
    state = request(f"{path}/drain", grants=OPERATOR, method="POST")
    while state["rooms"]:
        if time.monotonic() >= deadline:
            raise SfuError(f"{node} still has {state['rooms']} rooms after {parsed.timeout:g} s. The drain continues.")
        time.sleep(min(POLL_INTERVAL, parsed.timeout))
        state = request(path, grants=VideoGrants(room_list=True))
        if not state["draining"]:
            raise SfuError(f"The drain of {node} was undone.")
    print(f"{node} is empty.")
    return 0
