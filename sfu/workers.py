"""Worker processes (`sfu serve` with the option --workers): settings of each worker, and the parent process.

The parent passes them in the environment variable `SFU_WORKER`. Workers share the HTTP port (SO_REUSEPORT); each has its own
ports for media.
"""

import asyncio
import contextlib
import ctypes
import logging
import os
import secrets
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final

import msgspec

from sfu.api.development import listen_addresses
from sfu.cluster.settings import is_ip_address
from sfu.cluster.supervisor import Supervisor
from sfu.config import Settings
from sfu.errors import ConfigurationError
from sfu.telemetry import logs

log = logging.getLogger(__name__)

VARIABLE: Final = "SFU_WORKER"
MAX_WORKERS: Final = 256
_PR_SET_PDEATHSIG: Final = 1


class WorkerPlace(msgspec.Struct, frozen=True, kw_only=True):
    """The place of a worker among the processes of its machine."""

    number: int
    "From 1."
    parent: int
    "Process id."
    http_port: int
    node_id: str
    directory: str
    "Private directory for Unix sockets."
    secret: str = ""
    "Secret of the cluster; empty: that of the settings, because the machines share Redis."


def place_of(environment: Mapping[str, str]) -> WorkerPlace | None:
    """None: this process is not a worker. Raises ConfigurationError."""
    text = environment.get(VARIABLE)
    if not text:
        return None
    try:
        return msgspec.json.decode(text, type=WorkerPlace)
    except msgspec.DecodeError:
        raise ConfigurationError(f"{VARIABLE} is for the processes of `sfu serve --workers` only; unset it.") from None


def worker_settings(settings: Settings, place: WorkerPlace) -> Settings:
    """The settings of one worker. Raises ConfigurationError."""
    index = place.number - 1
    name = f"worker-{place.number}"
    rtc = replace(
        settings.rtc,
        udp_port=_own_port("rtc.udp_port", settings.rtc.udp_port, index),
        tcp_port=_own_port("rtc.tcp_port", settings.rtc.tcp_port, index),
        packet_log=f"{settings.rtc.packet_log}.{name}" if settings.rtc.packet_log else "",
    )
    cluster = replace(settings.cluster, node_id=place.node_id)
    if place.secret:
        socket_path = os.path.join(place.directory, f"{name}.sock")
        cluster = replace(
            cluster,
            secrets=(place.secret,),
            listen=f"unix:{socket_path}",
            directory_socket=os.path.join(place.directory, "directory.sock"),
        )
    elif not cluster.listen.startswith("unix:"):
        listen = _next_address("cluster.listen", cluster.listen, index)
        advertise = cluster.advertise
        if advertise and not is_ip_address(advertise):
            advertise = _next_address("cluster.advertise", advertise, index)
        cluster = replace(cluster, listen=listen, advertise=advertise)
    return replace(
        settings,
        rtc=rtc,
        cluster=cluster,
        http=replace(settings.http, port=place.http_port, reuse_port=True),
        events=replace(settings.events, directory=os.path.join(settings.events.directory, name)),
    )


def check(settings: Settings, count: int) -> None:
    """Raises ConfigurationError for settings that several processes cannot share."""
    if not 1 <= count <= MAX_WORKERS:
        raise ConfigurationError(f"--workers must be between 1 and {MAX_WORKERS}.")
    if settings.rtc.tcp_over_https_port:
        raise ConfigurationError(
            "rtc.tcp_over_https_port does not work with --workers: the kernel gives a connection to any worker. Set "
            "rtc.tcp_port; each worker listens on the next port."
        )
    for entry in settings.rtc.announce:
        if "]:" in entry or entry.count(":") == 1:
            raise ConfigurationError(
                f"rtc.announce {entry!r} contains a port, but each worker has its own. Leave it out and map the ports from "
                "rtc.udp_port on."
            )
    if settings.ingest.rtmp_port is not None or settings.ingest.rtmps_port is not None:
        raise ConfigurationError("ingest.rtmp_port and ingest.rtmps_port do not work with --workers; use WHIP.")
    if settings.cluster.listen.startswith("unix:") and settings.cluster.redis_url:
        raise ConfigurationError("cluster.listen must be host:port with --workers and Redis.")
    worker_settings(
        settings, WorkerPlace(number=count, parent=0, http_port=0, node_id="", directory="/", secret="x" * 32)
    )


def run(settings: Settings, count: int, arguments: Sequence[str]) -> int:
    """Runs the parent until it is stopped. `arguments`: of this command, for the workers. Raises ConfigurationError."""
    check(settings, count)
    logs.configure(settings.log)
    with _http_port(settings) as port, _runtime_directory() as directory:
        shared = settings.cluster.redis_url
        host = settings.cluster.node_id or socket.gethostname()
        node_ids = [f"{host}-{number}" if shared else f"worker-{number}" for number in range(1, count + 1)]
        secret = "" if shared else secrets.token_urlsafe(32)

        def environment(number: int) -> dict[str, str]:
            place = WorkerPlace(
                number=number,
                parent=os.getpid(),
                http_port=port,
                node_id=node_ids[number - 1],
                directory=directory,
                secret=secret,
            )
            return {VARIABLE: msgspec.json.encode(place).decode()}

        async def supervise() -> int:
            path = "" if shared else os.path.join(directory, "directory.sock")
            supervisor = Supervisor(node_ids, [sys.executable, "-m", "sfu", *arguments], environment, path)
            return await supervisor.run()

        return asyncio.run(supervise())


def end_with_parent(place: WorkerPlace) -> None:
    """Makes the kernel send SIGTERM to this worker when its parent dies."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != place.parent:
        raise SystemExit(0)


def _own_port(name: str, port: int, index: int) -> int:
    if port and port + index > 65_535:
        raise ConfigurationError(f"{name} {port} leaves no ports for the other workers.")
    return port + index if port else 0


def _next_address(name: str, address: str, index: int) -> str:
    host, _, port = address.rpartition(":")
    return f"{host}:{_own_port(name, int(port), index)}"


@contextlib.contextmanager
def _http_port(settings: Settings) -> Iterator[int]:
    """The port that all workers share; reserved if the system chooses it. Raises ConfigurationError."""
    if settings.http.port:
        yield settings.http.port
        return
    host = listen_addresses(settings.http, development=settings.auth.development)[0]
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind((host, 0))  # not listening: it gets no connections
        yield int(sock.getsockname()[1])


@contextlib.contextmanager
def _runtime_directory() -> Iterator[str]:
    """A directory with mode 0700, removed at the end."""
    directory = tempfile.mkdtemp(prefix="sfu-")
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)
