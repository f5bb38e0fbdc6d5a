"""Nodes that share a Redis, as an operator runs them: `sfu serve --redis`, behind a TCP balancer."""

import asyncio
import itertools
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from sfu.cluster.node_auth import NodeAuthentication
from sfu.cluster.node_client import NodeClient
from sfu.cluster.ports import NodeInfo, Unavailable
from sfu.cluster.redis_directory import RedisDirectory
from tests.support.client import Client
from tests.support.partitions import Hosts
from tests.support.peer import RawPeer
from tests.support.ports import free_port
from tests.support.redis import SECRETS, RedisServer, running
from tests.web.server import KEYS, ServerProcess, serve, token

GRANTS = ("--admin", "--create", "--list")
LOOPBACK = "127.0.0.1"
UP = 60.0
"""Seconds until nodes that start know each other."""


@dataclass
class RedisNodes:
    redis: RedisServer
    folder: Path
    http: aiohttp.ClientSession
    directory: RedisDirectory
    internal: NodeClient
    settings: Mapping[str, object]
    hosts: Hosts | None = None
    "None: all on this host."
    nodes: dict[str, ServerProcess] = field(default_factory=dict)
    balancer_port: int = 0
    up_at: float = 0.0
    "Monotonic time at which all nodes knew each other."
    clients: list[Client] = field(default_factory=list)
    _stacks: dict[str, AsyncExitStack] = field(default_factory=dict)
    _ports: dict[str, tuple[int, int]] = field(default_factory=dict)
    _turn: "itertools.count[int]" = field(default_factory=itertools.count)

    @property
    def url(self) -> str:
        """The URL of the balancer."""
        return f"http://127.0.0.1:{self.balancer_port}"

    def address(self, name: str) -> str:
        return self.hosts.addresses[name] if self.hosts is not None else LOOPBACK

    def node_url(self, name: str) -> str:
        return f"http://{self.address(name)}:{self.nodes[name].port}"

    async def start(self, name: str) -> None:
        """Starts a node, or starts it again at the same addresses."""
        port, internal = self._ports.setdefault(name, (free_port(), free_port()))
        settings = {
            "http.host": self.address(name),
            "rtc.include_loopback": self.hosts is None,
            **self.settings,
            "cluster.node_id": name,
            "cluster.listen": f"{self.address(name)}:{internal}",
            "cluster.secrets": f"[{SECRETS[0]}]",
        }
        stack = self._stacks[name] = AsyncExitStack()
        log = self.folder / f"{name}.log"
        self.nodes[name] = await stack.enter_async_context(
            serve(
                log,
                settings,
                KEYS,
                "--redis",
                self.redis.url,
                port=port,
                host=self.address(name),
                command=self.hosts.command(name) if self.hosts is not None else (),
            )
        )

    async def stop(self, name: str) -> None:
        """By SIGTERM, if it still runs."""
        del self.nodes[name]
        await self._stacks.pop(name).aclose()

    async def kill(self, name: str) -> None:
        process = self.nodes.pop(name).process
        process.kill()
        await process.wait()
        await self._stacks.pop(name).aclose()

    async def join(self, node: str, room: str, identity: str, *flags: str, **fields: object) -> Client:
        client = await self.connect(node, room, identity, *flags)
        client.state = await client.join(**fields)
        assert client.state["type"] == "joined", client.state
        return client

    async def connect(self, node: str, room: str, identity: str, *flags: str) -> Client:
        """A client that has not joined; an empty node is any, through the balancer."""
        client = Client(self.http, self.node_url(node) if node else self.url, await token(room, identity, *flags))
        if self.hosts is not None:
            for peer in (client.publishing, client.subscribing):
                peer.close()
            client.publishing, client.subscribing = RawPeer(host="0.0.0.0"), RawPeer(host="0.0.0.0")
        self.clients.append(client)
        return client

    async def close_clients(self) -> None:
        clients, self.clients = self.clients, []
        await asyncio.gather(*(client.close() for client in clients), return_exceptions=True)

    async def api(self, node: str, method: str, path: str, room: str = "", json: object = None) -> tuple[int, Any, str]:
        """Status, body and the header `Retry-After`."""
        headers = {"Authorization": f"Bearer {await token(room, 'operator', *GRANTS)}"}
        url = f"{self.node_url(node)}/api/v1{path}"
        async with self.http.request(method, url, headers=headers, json=json) as response:
            body = await response.json() if response.content_length else None
            return response.status, body, response.headers.get("Retry-After", "")

    async def metric(self, node: str, name: str) -> float:
        async with self.http.get(f"{self.node_url(node)}/metrics") as response:
            found = re.search(rf"^{name} (\S+)$", await response.text(), re.MULTILINE)
        assert found is not None, f"no metric {name}"
        return float(found[1])

    async def served(self, node: str) -> set[str]:
        """The rooms that exist in a node's process."""
        info = NodeInfo(id=node, instance="", url=f"http://{self.address(node)}:{self._ports[node][1]}")
        headers = {"Authorization": f"Bearer {await token('', 'operator', '--list')}"}
        response = await self.internal.request(info, "GET", "/api/v1/rooms", headers=headers, client="192.0.2.1")
        async with response:
            return {room["name"] for room in (await response.json())["rooms"]}

    async def homes(self, *rooms: str) -> dict[str, str]:
        """Rooms that have a home, with its node. Raises Unavailable."""
        found = {room: await self.directory.home(room) for room in rooms}
        return {room: home.node for room, home in found.items() if home is not None}

    async def until(self, condition: Callable[[], Awaitable[object]], seconds: float = UP) -> None:
        """Processes send no event when their state changes."""
        async with asyncio.timeout(seconds):
            while True:
                with suppress(Unavailable, aiohttp.ClientError):
                    if await condition():
                        return
                await asyncio.sleep(0.02)

    async def all_nodes(self, metric: str, value: float) -> None:
        """Waits until all nodes show this value."""

        async def equal() -> bool:
            return all([await self.metric(node, metric) == value for node in self.nodes])

        await self.until(equal)

    async def balance(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serves a connection of a client by the next node that accepts it."""
        nodes = [(self.address(name), server.port) for name, server in self.nodes.items()]
        first = next(self._turn)
        for number in range(len(nodes)):
            with suppress(OSError):
                there, back = await asyncio.open_connection(*nodes[(first + number) % len(nodes)])
                await asyncio.gather(_copy(reader, back), _copy(there, writer))
                return
        writer.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    writer.close()


@asynccontextmanager
async def redis_nodes(
    folder: Path, *names: str, hosts: Hosts | None = None, **settings: object
) -> AsyncIterator[RedisNodes]:
    """Nodes that know each other. `settings`: of all nodes, with `__` in place of the dot. `hosts`: one for each node, and
    `redis`."""
    given = {key.replace("__", "."): value for key, value in settings.items()}
    server_of_redis = (
        RedisServer(folder)
        if hosts is None
        else RedisServer(folder, host=hosts.addresses["redis"], command=hosts.command("redis"))
    )
    async with running(server_of_redis) as redis, aiohttp.ClientSession() as http:
        directory = RedisDirectory(redis.settings())
        internal = NodeClient(NodeAuthentication(SECRETS, "tests"))
        found = RedisNodes(redis, folder, http, directory, internal, given, hosts)
        server = await asyncio.start_server(found.balance, "127.0.0.1", 0)
        found.balancer_port = server.sockets[0].getsockname()[1]
        try:
            await asyncio.gather(*map(found.start, names))
            await found.all_nodes("sfu_cluster_nodes", len(names))
            found.up_at = time.monotonic()
            yield found
        finally:
            server.close()
            await found.close_clients()
            await asyncio.gather(*map(found.stop, list(found.nodes)), return_exceptions=True)
            await internal.close()
            await directory.close()
