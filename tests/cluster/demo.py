"""`make cluster`: three nodes with Redis on this machine, a table of the rooms that each serves, and commands to kill nodes.

A small TCP balancer stands in for a load balancer: http://localhost:7880 is any node that runs.
"""

import argparse
import asyncio
import contextlib
import itertools
import os
import secrets
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

from sfu.cluster.ports import Unavailable
from sfu.cluster.redis_directory import RedisDirectory
from sfu.cluster.settings import Settings
from tests.support.ports import free_port

ROOMS = ("red", "green", "blue")
REFRESH = 1.0


class Demo:
    def __init__(self, folder: Path, nodes: int, bots: int) -> None:
        self._folder = folder
        self._bots = bots
        self._redis_port = free_port()
        self._environment = {
            **os.environ,
            "SFU_CLUSTER__REDIS_URL": f"redis://127.0.0.1:{self._redis_port}",
            "SFU_CLUSTER__SECRETS": secrets.token_urlsafe(32),
        }
        self._ports = {number: free_port() for number in range(1, nodes + 1)}
        self._nodes: dict[int, asyncio.subprocess.Process] = {}
        self._others: list[asyncio.subprocess.Process] = []
        self._turn = itertools.count()
        self._directory: RedisDirectory | None = None

    @asynccontextmanager
    async def running(self, port: int) -> AsyncIterator[None]:
        redis = (
            "redis-server",
            "--port",
            str(self._redis_port),
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--dir",
            str(self._folder),
        )
        server = None
        try:
            self._others.append(await self._start("redis", *redis))
            for number in self._ports:
                await self.start(number)
            settings = Settings(
                redis_url=self._environment["SFU_CLUSTER__REDIS_URL"],
                secrets=(self._environment["SFU_CLUSTER__SECRETS"],),
            )
            self._directory = RedisDirectory(settings)
            server = await asyncio.start_server(self._balance, "127.0.0.1", port)
            await self._until_up()
            for room in ROOMS if self._bots else ():
                bot = (sys.executable, "-m", "sfu", "bot", "--url", f"http://localhost:{port}")
                self._others.append(await self._start(f"bots-{room}", *bot, "--room", room, "--count", str(self._bots)))
            yield
        finally:
            if server is not None:
                server.close()
            for process in (*self._others[::-1], *self._nodes.values()):
                with contextlib.suppress(ProcessLookupError):
                    process.terminate()
                await process.wait()
            if self._directory is not None:
                await self._directory.close()

    async def start(self, number: int) -> None:
        udp = free_port()
        self._nodes[number] = await self._start(
            f"node-{number}",
            *(sys.executable, "-m", "sfu", "serve", "--port", str(self._ports[number]), "--udp-port", str(udp)),
            *("--set", f"cluster.node_id=node-{number}", "--set", f"cluster.listen=127.0.0.1:{free_port()}"),
        )

    def kill(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._nodes[number].send_signal(signal.SIGKILL)

    async def table(self) -> str:
        """The nodes with their rooms and participants."""
        assert self._directory is not None
        try:
            nodes = await self._directory.nodes()
            homes = {room: await self._directory.home(room) for room in ROOMS}
        except Unavailable as error:
            return f"Redis: {error.message}"
        lines = [f"{'node':<8} {'state':<9} {'rooms':<24} {'participants':>12}"]
        for number, process in self._nodes.items():
            info = nodes.get(f"node-{number}")
            rooms = ", ".join(room for room, home in homes.items() if info and home and home.instance == info.instance)
            state = "killed" if process.returncode is not None else "running" if info else "starting"
            people = info.participants if info and state == "running" else 0
            lines.append(f"{number:<8} {state:<9} {rooms or '-':<24} {people:>12}")
        return "\n".join(lines)

    async def _start(self, name: str, *command: str) -> asyncio.subprocess.Process:
        with (self._folder / f"{name}.log").open("ab") as log:
            return await asyncio.create_subprocess_exec(
                *command, env=self._environment, stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True,
            )  # fmt: skip

    async def _until_up(self) -> None:
        assert self._directory is not None
        async with asyncio.timeout(30):
            while True:
                with contextlib.suppress(Unavailable):
                    if len(await self._directory.nodes()) == len(self._ports):
                        return
                await asyncio.sleep(0.1)

    def _choices(self) -> Iterator[int]:
        """Ports of all nodes, beginning with the next one."""
        ports = list(self._ports.values())
        first = next(self._turn) % len(ports)
        yield from ports[first:] + ports[:first]

    async def _balance(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for port in self._choices():
            try:
                node_reader, node_writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                continue
            await asyncio.gather(_copy(reader, node_writer), _copy(node_reader, writer))
            return
        writer.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    writer.close()


async def run(port: int, nodes: int, bots: int) -> None:
    loop = asyncio.get_running_loop()
    commands: asyncio.Queue[str] = asyncio.Queue()

    def read() -> None:
        line = sys.stdin.readline()
        if not line:
            loop.remove_reader(sys.stdin)
        commands.put_nowait(line or "quit")

    with tempfile.TemporaryDirectory(prefix="sfu-cluster-") as folder:
        demo = Demo(Path(folder), nodes, bots)
        async with demo.running(port):
            loop.add_reader(sys.stdin, read)
            print(f"http://localhost:{port}/r/red   logs: {folder}\ncommands: kill N, start N, quit\n", flush=True)
            shown = ""
            while True:
                if (table := await demo.table()) != shown:
                    shown = table
                    print(f"{table}\n", flush=True)
                try:
                    command, *numbers = (await asyncio.wait_for(commands.get(), REFRESH)).split() or [""]
                except TimeoutError:
                    continue
                if command == "quit":
                    return
                if command in ("kill", "start") and numbers and numbers[0] in map(str, range(1, nodes + 1)):
                    number = int(numbers[0])
                    if command == "kill":
                        demo.kill(number)
                    else:
                        await demo.start(number)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="make cluster")
    parser.add_argument("--port", type=int, default=7880)
    parser.add_argument("--nodes", type=int, default=3)
    parser.add_argument("--bots", type=int, default=2, help="bots in each room")
    given = parser.parse_args()
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(run(given.port, given.nodes, given.bots))
