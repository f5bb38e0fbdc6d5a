"""A real redis-server for tests: with AUTH, TLS, as a Cluster of one node, or watched by Sentinel."""

import asyncio
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import redis.asyncio

from sfu.cluster.settings import Settings
from tests.support.ports import free_port

SECRETS = ("s" * 32,)
PASSWORD = "redis-password"
SLOTS = 16_384


class RedisServer:
    """`certificate`: PEM files of certificate and key; the server then speaks TLS only. `host`: where it is reached.
    `command`: runs the program, e.g. on another host."""

    def __init__(
        self,
        folder: Path,
        *,
        cluster: bool = False,
        certificate: tuple[Path, Path] | None = None,
        sentinel: bool = False,
        host: str = "localhost",
        command: tuple[str, ...] = (),
    ) -> None:
        self.folder = folder
        self.port = free_port()
        self._sentinel_port = free_port() if sentinel else 0
        self._cluster = cluster
        self._host = host
        self._command = command
        self._certificate = certificate
        self._processes: list[subprocess.Popen[bytes]] = []

    @property
    def url(self) -> str:
        if self._sentinel_port:
            return f"redis+sentinel://default:{PASSWORD}@localhost:{self._sentinel_port}/master/1"
        scheme = "rediss" if self._certificate else "redis"
        kind = "+cluster" if self._cluster else ""
        return f"{scheme}{kind}://default:{PASSWORD}@{self._host}:{self.port}" + ("" if kind else "/1")

    def settings(self, **values: Any) -> Settings:
        ca = str(self._certificate[0]) if self._certificate else ""
        return Settings(**({"redis_url": self.url, "redis_ca": ca, "secrets": SECRETS} | values))

    async def start(self) -> None:
        options = {
            "requirepass": PASSWORD,
            "save": "",
            "appendonly": "no",
            "dir": str(self.folder),
            "bind": "127.0.0.1 ::1" if self._host == "localhost" else self._host,
        }
        options["port"] = "0" if self._certificate else str(self.port)
        if self._certificate:
            certificate, key = map(str, self._certificate)
            options |= {"tls-port": str(self.port), "tls-cert-file": certificate, "tls-key-file": key}
            options |= {"tls-ca-cert-file": certificate, "tls-auth-clients": "no"}
        if self._cluster:
            options |= {"cluster-enabled": "yes", "cluster-config-file": f"nodes-{self.port}.conf"}
        self._run("redis.conf", options)
        await self._until_ready()

    async def command(self, *arguments: str) -> Any:
        """As an administrator."""
        tls: dict[str, Any] = {"ssl": True, "ssl_ca_certs": str(self._certificate[0])} if self._certificate else {}
        client = redis.asyncio.Redis(
            host=self._host, port=self.port, password=PASSWORD, db=0 if self._cluster else 1, **tls
        )
        try:
            return await client.execute_command(*arguments)  # type: ignore[no-untyped-call]
        finally:
            await client.aclose()

    async def command_counts(self) -> dict[str, int]:
        found = await self.command("INFO", "commandstats")
        return {name.removeprefix("cmdstat_"): value["calls"] for name, value in found.items()}

    def stall(self) -> None:
        self._processes[0].send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self._processes[0].send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """Ends the processes; `start` runs them again."""
        for process in self._processes:
            process.kill()
            process.wait()
        self._processes = []

    def _run(self, name: str, options: dict[str, str], *arguments: str) -> None:
        program = shutil.which("redis-server")
        assert program is not None
        file = self.folder / name
        lines = (f"{key} {value}" if value else f'{key} ""' for key, value in options.items())
        file.write_text("\n".join([*lines, ""]))
        self._processes.append(
            subprocess.Popen([*self._command, program, str(file), *arguments], stdout=subprocess.DEVNULL)
        )

    async def _until_ready(self) -> None:
        async with asyncio.timeout(30):
            await self._until(self._answers)
            if self._cluster:
                await self.command("CLUSTER", "ADDSLOTSRANGE", "0", str(SLOTS - 1))
                await self._until(self._covers_all_slots)
            if self._sentinel_port:
                options = {"port": str(self._sentinel_port), "dir": str(self.folder)}
                options["sentinel monitor"] = f"master 127.0.0.1 {self.port} 1"
                options["sentinel auth-pass"] = f"master {PASSWORD}"
                self._run("sentinel.conf", options, "--sentinel")
                await self._until(self._sentinel_answers)

    async def _until(self, condition: Any) -> None:
        while True:
            with suppress(redis.exceptions.RedisError, OSError):
                if await condition():
                    return
            await asyncio.sleep(0.02)

    async def _answers(self) -> bool:
        return bool(await self.command("PING"))

    async def _covers_all_slots(self) -> bool:
        return b"cluster_state:ok" in await self.command("CLUSTER", "INFO")

    async def _sentinel_answers(self) -> bool:
        client = redis.asyncio.Redis(host="localhost", port=self._sentinel_port)
        try:
            master: Any = await client.sentinel_master("master")
            return "master" in master["flags"] and "down" not in master["flags"]
        finally:
            await client.aclose()


@asynccontextmanager
async def running(server: RedisServer) -> AsyncIterator[RedisServer]:
    require_redis()
    try:
        await server.start()
        yield server
    finally:
        server.kill()


def require_redis() -> None:
    if shutil.which("redis-server") is None:
        pytest.skip("redis-server is missing")
