"""A real server process, two honest participants in another process, and the guarantees that hold for them during an attack.

Timing on a busy machine: the honest pair is measured before each attack too, so that only what the attack adds counts
(`P99` and `LONGEST` above that base line; the longest delay of a packet, one every 5 ms, is the longest stall of the
server's loop). Packets that a program only reflects show how long the machine delays: that is subtracted. An attack after
which only a timing was missed is made again, up to twice, with a new base line: a machine that was busy elsewhere is quiet
then, a server that stalls stalls again.
"""

import asyncio
import contextlib
import json
import os
import re
import signal
import socket
import sys
import tempfile
import time
import urllib.request
from collections.abc import Awaitable, Callable
from pathlib import Path

import aiohttp
import jwt

from tests.support.client import Client
from tests.support.ports import free_port

KEY, SECRET = "attacks", "a secret of thirty-two bytes or more"
P99 = 0.020
LONGEST = 0.050
LOSS = 0.001
LOG_LINES = 12
"""Records that one attack may cause: who joins and leaves is logged as well."""
MEMORY = 5_000_000
_SAMPLE = re.compile(r"^(sfu_\w+?)(?:\{(.*)\})? ([0-9.e+-]+)$", re.MULTILINE)

Metrics = dict[str, float]


LATE = ('"session ended"', '"no connectivity check arrived"')
"""Records about clients of earlier attacks, of which the server gives up those that left without a word."""
STARVED = "event loop is blocked"
"""A record that a server without processor time makes too: how long its loop stalls is judged by the delays."""


def _prefer() -> None:
    """Runs in a child: other programs of a busy machine must not count as damage that an attack did. Needs root."""
    with contextlib.suppress(PermissionError):
        os.nice(-15)


class Field:
    """Attackers join with `attacker`."""

    def __init__(
        self, *settings: str, command: tuple[str, ...] = (), environment: dict[str, str] | None = None,
        announce: str = "127.0.0.1",
    ) -> None:  # fmt: skip
        """`command`: what is run as `sfu`; `environment`: beside this process's own; `announce`: its candidates' address."""
        self._announce = announce
        self._extra = settings
        self._command = command or (sys.executable, "-m", "tests.attacks.server")
        self._environment = {**os.environ, **(environment or {})}
        self.folder = tempfile.TemporaryDirectory(prefix="attacks-")
        self.port, self.udp_port = free_port(socket.SOCK_STREAM), free_port(socket.SOCK_DGRAM)
        self.tcp_port = free_port(socket.SOCK_STREAM)
        self.url = f"http://127.0.0.1:{self.port}"
        self.media = ("127.0.0.1", self.udp_port)
        self.keys = Path(self.folder.name) / "keys"
        self.log = Path(self.folder.name) / "log"

    async def open(self, *, honest: bool = True) -> None:
        self.keys.write_text(f"{KEY}: {SECRET}\n")
        with self.log.open("wb") as log:
            self.server = await asyncio.create_subprocess_exec(
                *(*self._command, "serve", "--host", "127.0.0.1", "--port", str(self.port)),
                *("--udp-port", str(self.udp_port), "--keys-file", str(self.keys)),
                *("--set", "rtc.include_loopback=true", "--set", f"rtc.announce=[{self._announce}]",
                  "--set", f"rtc.tcp_port={self.tcp_port}", *self._extra),
                stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log, env=self._environment, preexec_fn=_prefer,
            )  # fmt: skip
        deadline = time.monotonic() + 20
        while True:
            assert self.server.returncode is None, self.log.read_text()
            assert time.monotonic() < deadline
            try:
                self.metrics()
                break
            except OSError:
                await asyncio.sleep(0.05)
        self.honest: asyncio.subprocess.Process | None = None
        if honest:
            self.honest = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "tests.attacks.honest", self.url),
                *(self.token("honest"), self.token("listener")),
                stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, preexec_fn=_prefer,
            )  # fmt: skip
            assert self.honest.stdout
            assert await asyncio.wait_for(self.honest.stdout.readline(), 20) == b"ready\n"

    async def close(self) -> None:
        if self.honest is not None and self.honest.stdin is not None:
            self.honest.stdin.close()
            await asyncio.wait_for(self.honest.wait(), 10)
        if self.server.returncode is None:
            self.server.send_signal(signal.SIGTERM)
            await asyncio.wait_for(self.server.wait(), 15)
        self.folder.cleanup()

    def token(
        self, identity: str, room: str = "field", *, secret: str = SECRET, key: str = KEY, **video: object
    ) -> str:
        now = int(time.time())
        claims = {"iss": key, "sub": identity, "name": f"Name of {identity}", "nbf": now - 5, "exp": now + 3600}
        return jwt.encode({**claims, "video": {"room": room, "roomJoin": True, **video}}, secret, algorithm="HS256")

    def metrics(self) -> Metrics:
        with urllib.request.urlopen(f"{self.url}/metrics", timeout=5) as answer:
            text = answer.read().decode()
        found: Metrics = {}
        for name, labels, value in _SAMPLE.findall(text):
            label = re.search(r'"(\w+)"', labels or "")
            found[f"{name}:{label[1]}" if label else name] = float(value)
        return found

    def memory(self) -> int:
        return int(Path(f"/proc/{self.server.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")

    def descriptors(self) -> int:
        return len(os.listdir(f"/proc/{self.server.pid}/fd"))

    def records(self) -> list[str]:
        return self.log.read_text().splitlines()

    async def figures(self) -> dict[str, float]:
        """Of the honest pair since the last call."""
        assert self.honest is not None
        assert self.honest.stdin is not None
        assert self.honest.stdout is not None
        self.honest.stdin.write(b"\n")
        return json.loads(await asyncio.wait_for(self.honest.stdout.readline(), 10))  # type: ignore[no-any-return]  # JSON of our own process

    async def withstands(
        self, attack: Callable[[], Awaitable[object]], *, counted: tuple[str, ...] = (), memory: int = MEMORY,
        lines: int = LOG_LINES, tries: int = 3,
    ) -> Metrics:  # fmt: skip
        """Makes the attack and asserts what the module says; the growth of every metric. `counted`: `this|or_that`."""
        missed = ""
        for _ in range(tries):
            await self.figures()
            await asyncio.sleep(0.4)
            base, before, size, said = await self.figures(), self.metrics(), self.memory(), len(self.records())
            await attack()
            seen = await self.figures()
            assert self.server.returncode is None, self.log.read_text()[-3000:]
            deadline = time.monotonic() + 5
            while True:  # what the attack sent may still wait in the server's socket
                grown = {name: value - before.get(name, 0.0) for name, value in self.metrics().items()}
                if time.monotonic() > deadline or all(
                    any(grown.get(each, 0) > 0 for each in name.split("|")) for name in counted
                ):
                    break
                await asyncio.sleep(0.1)
            # who closed without a word is given up later, perhaps in the middle of the next attack
            records = [each for each in self.records()[said:] if not any(words in each for words in (*LATE, STARVED))]
            assert not [record for record in records if '"exception"' in record], records[:3]
            assert not grown.get("sfu_packets_dropped_total:fault"), "a fault inside"
            for name in counted:
                assert any(grown.get(each, 0) > 0 for each in name.split("|")), (
                    name,
                    {key: value for key, value in grown.items() if value},
                )
            assert len(records) <= lines, (len(records), records[:5])
            assert self.memory() - size <= memory, self.memory() - size
            lost = 1 - seen["received"] / max(1, seen["sent"])
            machine = {name: max(0.0, seen[f"machine_{name}"] - base[f"machine_{name}"]) for name in ("p99", "longest")}
            slower, stalled = (seen[name] - base[name] - machine[name] for name in ("p99", "longest"))
            print(
                f"lost {lost:.2%}, p99 {slower * 1e3:+.1f} ms, longest {stalled * 1e3:+.1f} ms, {len(records)} records; "
                f"the machine: p99 {machine['p99'] * 1e3:+.1f} ms, longest {machine['longest'] * 1e3:+.1f} ms"
            )
            if lost < LOSS and slower < P99 and stalled < LONGEST:
                return grown
            missed = f"lost {lost:.2%}, p99 {slower:+.3f} s, longest {stalled:+.3f} s"
        raise AssertionError(missed)

    @staticmethod
    async def leave(*clients: Client) -> None:
        """Politely, so that the next attack does not see their sessions time out."""
        for client in clients:
            with contextlib.suppress(Exception):
                await client._socket.send_json({"type": "leave"})
                await asyncio.wait_for(client.closed.wait(), 2)
            await client.close()

    def attacker(self, http: aiohttp.ClientSession, name: str = "attacker", room: str = "field") -> Client:
        return Client(http, self.url, self.token(name, room))
