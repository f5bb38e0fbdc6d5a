"""The servers under load as processes: started pinned to one core, measured from outside, stopped by their id."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Protocol, TypeVar

from sfu.transport.dtls import Identity
from tests.bench.client import KEY, SECRET, Participant
from tests.bench.media import Encoding
from tests.bench.peer import LoadPeer
from tests.bench.reactor import Reactor

SERVER_CORE, CLIENT_CORE = 0, 1


class Process:
    """A server in a process of its own."""

    def __init__(self, command: list[str], environment: dict[str, str] | None = None) -> None:
        self.log = tempfile.TemporaryFile()  # noqa: SIM115 (closed by stop)
        self._process = subprocess.Popen(
            command, stdout=self.log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
            env={**os.environ, **(environment or {})}, preexec_fn=_pin,
        )  # fmt: skip
        self.pid = self._process.pid

    def cpu(self) -> float:
        """Seconds of CPU used by all of its threads so far, those that ended included (MAKE_PROCESS_CPUCLOCK)."""
        return time.clock_gettime(~self.pid << 3 | 2)

    def memory(self) -> int:
        """Bytes resident."""
        return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")

    def wait_for(self, port: int) -> None:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                raise RuntimeError(f"the server ended:\n{self.output()}")
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                return
            except OSError:
                time.sleep(0.05)
        raise RuntimeError(f"the server does not listen:\n{self.output()}")

    def output(self) -> str:
        self.log.seek(0)
        return self.log.read().decode(errors="replace")[-4000:]

    def stop(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self.log.close()


def _pin() -> None:
    os.sched_setaffinity(0, {SERVER_CORE} if os.cpu_count() != 1 else {0})


@contextlib.contextmanager
def awake() -> Iterator[None]:
    """Keeps the server's core from halting between packets, which costs a virtual machine as much as the packets do.

    A loop that runs only when nothing else wants the core; every server gets the same.
    """
    pid = os.fork()
    if not pid:
        _pin()
        os.nice(19)
        if hasattr(os, "SCHED_IDLE"):
            os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
        parent = os.getppid()
        while os.getppid() == parent:
            for _ in range(1_000_000):
                pass
        os._exit(0)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def free_port(kind: socket.SocketKind = socket.SOCK_STREAM) -> int:
    with socket.socket(socket.AF_INET, kind) as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


class Member(Protocol):
    """A participant of some server; its connections are there as far as it has them."""

    publisher: LoadPeer | None
    subscriber: LoadPeer | None
    audio: Encoding | None
    video: list[Encoding]

    def leave(self) -> None: ...


M = TypeVar("M", bound=Member)


class Server(Protocol[M]):
    """Operations of a server that the shapes of load use."""

    process: Process

    def member(self, room: str, name: str, *, publish: bool, subscribe: bool, sampled: bool = False) -> M:
        """Joins; returns when its publishing connection is up."""

    def settle(self, rooms: dict[str, list[M]]) -> None:
        """Called when all participants have joined: returns when all subscriptions are up."""

    def stop(self) -> None: ...


class Aiosfu:
    """Our server with its default settings, except two: a participant may send more, because saturation needs it, and paths
    start with a high estimate, so that no probing runs during the measurement."""

    def __init__(self, reactor: Reactor, identity: Identity, extra: tuple[str, ...] = ()) -> None:
        self._reactor, self._identity = reactor, identity
        self.port = free_port()
        self._folder = tempfile.TemporaryDirectory(prefix="bench-aiosfu-")
        keys = Path(self._folder.name) / "keys.yaml"
        keys.write_text(f"{KEY}: {SECRET}\n")
        self.process = Process(
            [
                *(str(Path(sys.executable).parent / "sfu"), "serve", "--host", "127.0.0.1", "--port", str(self.port)),
                *("--udp-port", str(free_port(socket.SOCK_DGRAM)), "--keys-file", str(keys)),
                *("--set", "rtc.include_loopback=true", "--set", "rtc.announce=[127.0.0.1]"),
                *("--set", "rtc.publish_packets_per_second=1000000"),
                *("--set", "rtc.publish_bits_per_second=10000000000"),
                *("--set", "bandwidth.start=1000000000", "--set", "bandwidth.most=1000000000", *extra),
            ]
        )
        try:
            self.process.wait_for(self.port)
        except RuntimeError:
            self.stop()
            raise

    def member(self, room: str, name: str, *, publish: bool, subscribe: bool, sampled: bool = False) -> Participant:
        who = Participant(self._reactor, self._identity, self.port, room, name, subscribe=subscribe, sampled=sampled)
        if publish:
            who.publish()
            self._reactor.run_until(lambda: bool(who.publisher and who.publisher.connected), 10, "publisher's DTLS")
        return who

    def settle(self, rooms: dict[str, list[Participant]]) -> None:
        for members in rooms.values():
            for member in members:
                wanted = 2 * sum(1 for other in members if other is not member and other.publisher is not None)
                if wanted and member.subscribes:
                    self._reactor.run_until(partial(member.receives, wanted), 15, f"{wanted} tracks")

    def stop(self) -> None:
        self.process.stop()
        self._folder.cleanup()
