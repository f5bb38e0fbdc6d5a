"""Free ports for servers that a test starts in other processes.

A port that the kernel chooses can be taken again before the server binds it, by an outgoing connection of any process. These
ports are below the kernel's range, each process of pytest-xdist has its own, and none is given twice.
"""

import os
import random
import socket
from collections.abc import Iterator

FIRST, LAST = 16_000, 32_000
PROCESSES = 8
"""Blocks of ports; processes of pytest-xdist beyond this number share them."""


def _candidates() -> Iterator[int]:
    size = (LAST - FIRST) // PROCESSES
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % PROCESSES
    ports = range(FIRST + worker * size, FIRST + (worker + 1) * size)
    start = random.randrange(size)  # two runs of the tests at once
    while True:
        yield from ports[start:]
        yield from ports[:start]


_ports = _candidates()


def free_port(kind: socket.SocketKind = socket.SOCK_STREAM) -> int:
    """A port that is free on all IPv4 and IPv6 addresses."""
    for port in _ports:
        with socket.socket(socket.AF_INET6, kind) as probe:
            probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            try:
                probe.bind(("::", port))
            except OSError:
                continue
            return port
    raise AssertionError("no port is free")
