"""A complete server in this process with small renditions, and bots in another process."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from sfu.app import Server
from sfu.egress.job import EgressJob
from tests.support import admin
from tests.support.admin import SECRET
from tests.support.client import Client
from tests.support.running_server import dotted, running_server, until

__all__ = ["ROOM", "EgressServer", "bots", "egress_server", "token", "until"]

ROOM = "town-hall"
ROOT = Path(__file__).parent.parent.parent


def token(identity: str, **grants: Any) -> str:
    return admin.token(ROOM, identity, **grants)


@dataclass
class EgressServer:
    """The server, and helpers to call it."""

    server: Server
    http: aiohttp.ClientSession
    directory: Path

    def client(self, identity: str) -> Client:
        return Client(self.http, self.server.url, token(identity, room_join=True))

    async def ask(self, method: str, path: str, **arguments: Any) -> Any:
        """Calls the admin API with all egress grants."""
        operator = token("operator", room_record=True, room_egress=True, room_admin=True)
        return await admin.ask(self.http, method, f"{self.server.url}/api/v1/rooms/{ROOM}{path}", operator, **arguments)

    @property
    def job(self) -> EgressJob:
        return self.server.egress_jobs.find(ROOM)

    async def playlist(self, rendition: str = "180p") -> str:
        """The live playlist as a viewer fetches it."""
        headers = {"Authorization": f"Bearer {token('viewer', room_join=True)}"}
        async with self.http.post(f"{self.server.url}/hls/{ROOM}/token", headers=headers) as answer:
            index = self.server.url + (await answer.json())["url"]
        async with self.http.get(index) as answer:
            lines = (await answer.text()).splitlines()
        name = next(line for line in lines if line.endswith(f"{rendition}.m3u8"))
        self.index = index
        async with self.http.get(index.rpartition("/")[0] + "/" + name) as answer:
            return await answer.text()


@asynccontextmanager
async def egress_server(directory: Path, **settings: str) -> AsyncIterator[EgressServer]:
    flags = {
        "outputs.renditions": '["320x180@200"]',
        "outputs.hls.directory": str(directory / "hls"),
        "egress.directory": str(directory / "recordings"),
    } | dotted(settings)
    async with running_server(flags, lambda server: (server.signaling, server.egress_jobs)) as (server, http):
        yield EgressServer(server, http, directory)
    assert not len(server.egress_jobs)


@asynccontextmanager
async def bots(
    server: Server, count: int, *arguments: str, module: str = "sfu", environment: Mapping[str, str] | None = None
) -> AsyncIterator[None]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", module, "bot", "--url", server.url, "--room", ROOM, "--count", str(count),
        "--size", "320x180", "--fps", "15", "--no-simulcast", "--subscribe", "none", "--interval", "0",
        "--until-eof", "--key", "key", *arguments,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.DEVNULL,
        env={**os.environ, "SFU_BOT_SECRET": SECRET, **(environment or {})},
        cwd=ROOT,
    )  # fmt: skip
    try:
        yield
    finally:
        assert process.stdin is not None
        process.stdin.close()
        await process.wait()
