"""Worker processes that run, and which of them has the other end of a connection."""

import asyncio
import os
import re
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import msgspec

from sfu.cluster.directory_client import DirectoryClient
from sfu.cluster.node_auth import NodeAuthentication
from sfu.cluster.sealing import Sealer
from sfu.workers import VARIABLE, WorkerPlace
from tests.support.client import Client
from tests.web.server import KEYS, ServerProcess, serve, token

SETTINGS = {"http.host": "127.0.0.1", "rtc.include_loopback": "true", "signaling.resume_window": 5}
GRANTS = ("--admin", "--create", "--list")


@dataclass
class Workers:
    server: ServerProcess
    http: aiohttp.ClientSession
    count: int
    clients: list[Client] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.port}"

    def places(self) -> dict[int, WorkerPlace]:
        """Living workers by process id."""
        found = {}
        parent = self.server.process.pid
        for pid in map(int, Path(f"/proc/{parent}/task/{parent}/children").read_text().split()):
            with suppress(OSError):
                for line in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
                    name, _, value = line.decode().partition("=")
                    if name == VARIABLE:
                        found[pid] = msgspec.json.decode(value, type=WorkerPlace)
        return found

    def pid(self, number: int) -> int:
        return next(pid for pid, place in self.places().items() if place.number == number)

    def landing(self, local_port: int) -> int:
        """Number of the worker that has the other end of the TCP connection from this port."""
        inode = next(entry for port, entry in _connections(self.server.port) if port == local_port)
        for pid, place in self.places().items():
            for descriptor in Path(f"/proc/{pid}/fd").iterdir():
                with suppress(OSError):
                    if os.readlink(descriptor) == f"socket:[{inode}]":
                        return place.number
        raise AssertionError("no worker has the connection")

    async def join(self, room: str, identity: str, *flags: str, **fields: object) -> Client:
        client = Client(self.http, self.url, await token(room, identity, *flags))
        self.clients.append(client)
        client.state = await client.join(**fields)
        assert client.state["type"] == "joined", client.state
        return client

    async def join_by(self, number: int, room: str, identity: str, *flags: str) -> Client:
        """A client that has landed on this worker. The kernel chooses, so this tries again."""
        for attempt in range(64):
            client = await self.join(room, f"{identity}-{attempt}", *flags)
            if self.landing(client.local_port) == number:
                return client
            await client.leave()
        raise AssertionError("no connection landed on the worker")

    async def close_clients(self) -> None:
        clients, self.clients = self.clients, []
        await asyncio.gather(*(client.close() for client in clients), return_exceptions=True)

    async def homes(self) -> dict[str, int]:
        """Rooms by worker, from the metrics."""
        async with self.http.get(f"{self.url}/metrics") as response:
            found = re.findall(r'^sfu_rooms\{worker="(worker-\d+)"\} (\d+)', await response.text(), re.MULTILINE)
        return {worker: int(number) for worker, number in found}

    async def api(self, method: str, path: str, room: str = "", json: object = None) -> tuple[int, Any]:
        """A request over a connection of its own, which any worker may get."""
        headers = {"Authorization": f"Bearer {await token(room, 'operator', *GRANTS)}", "Connection": "close"}
        async with self.http.request(method, f"{self.url}/api/v1{path}", headers=headers, json=json) as response:
            return response.status, await response.json() if response.content_length else None

    def internal(self, number: int) -> tuple[aiohttp.ClientSession, NodeAuthentication]:
        """A client of a worker's internal listener, and the authentication of a node of the same cluster."""
        place = self.places()[self.pid(number)]
        path = str(Path(place.directory) / f"worker-{number}.sock")
        session = aiohttp.ClientSession("http://node", connector=aiohttp.UnixConnector(path))
        return session, NodeAuthentication([place.secret], "worker-9")

    async def saved(self, room: str, participant: str) -> None:
        """Waits until the snapshot of a room contains a participant."""
        place = next(iter(self.places().values()))
        directory = DirectoryClient(str(Path(place.directory) / "directory.sock"))
        sealer = Sealer([place.secret], "snapshots")
        try:
            async with asyncio.timeout(10):
                while True:
                    sealed = await directory.load(room)
                    if sealed is not None and participant.encode() in sealer.open(sealed, room.encode()):
                        return
                    await asyncio.sleep(0.02)
        finally:
            await directory.close()


def _connections(port: int) -> Iterator[tuple[int, int]]:
    """(remote port, inode) of the connections to a local port."""
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in Path(table).read_text().splitlines()[1:]:
            parts = line.split()
            if int(parts[1].rpartition(":")[2], 16) == port and parts[3] == "01":
                yield int(parts[2].rpartition(":")[2], 16), int(parts[9])


@asynccontextmanager
async def workers(log: Path, count: int = 2, **settings: object) -> AsyncIterator[Workers]:
    """A server with all its workers up."""
    given = {**SETTINGS, **settings}
    async with serve(log, given, KEYS, "--workers", str(count)) as server, aiohttp.ClientSession() as http:
        found = Workers(server, http, count)
        await until_up(found)
        try:
            yield found
        finally:
            await found.close_clients()


async def until_up(found: Workers) -> None:
    """Waits until all workers answer."""
    async with asyncio.timeout(30):
        while len(await _metrics(found)) < found.count:  # noqa: ASYNC110  # processes have no event to wait for
            await asyncio.sleep(0.05)


async def _metrics(found: Workers) -> dict[str, int]:
    try:
        return await found.homes()
    except aiohttp.ClientError:
        return {}


def kill(found: Workers, number: int) -> None:
    os.kill(found.pid(number), signal.SIGKILL)
