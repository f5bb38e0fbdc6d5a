"""A complete server in this process, encoders (ffmpeg), and a subscriber that keeps and decodes what it receives."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from sfu.app import Server
from tests.support import admin
from tests.support.client import Client
from tests.support.running_server import dotted, running_server, until
from tests.support.wire import Rtp

__all__ = ["AAC", "H264", "ROOM", "IngestServer", "Received", "ingest_server", "token", "until"]

ROOM = "studio"
VIDEO = ("-f", "lavfi", "-i", "testsrc2=s=320x180:r=30")
SOUND = ("-f", "lavfi", "-i", "sine=frequency=440:sample_rate=44100")
H264 = ("-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-g", "15", "-pix_fmt", "yuv420p")
AAC = ("-c:a", "aac", "-b:a", "64k")


def token(identity: str, **grants: Any) -> str:
    return admin.token(ROOM, identity, **grants)


@dataclass
class IngestServer:
    """The server, and helpers to call it."""

    server: Server
    http: aiohttp.ClientSession
    encoders: list[asyncio.subprocess.Process] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"rtmp://127.0.0.1:{self.server.rtmp_server.port}/live"

    async def ask(self, method: str, path: str, **arguments: Any) -> Any:
        operator = token("operator", room_admin=True, room_list=True)
        return await admin.ask(self.http, method, f"{self.server.url}/api/v1{path}", operator, **arguments)

    async def create_key(self) -> str:
        body = {"identity": "encoder", "name": "Studio camera"}
        created = await self.ask("POST", f"/rooms/{ROOM}/ingest", json=body)
        assert created["ingest"]["state"] == "waiting"
        return str(created["key"])

    async def status(self) -> dict[str, Any]:
        (one,) = (await self.ask("GET", "/ingest"))["ingests"]
        assert isinstance(one, dict)
        return one

    async def encode(self, key: str, *arguments: str, seconds: float = 60) -> asyncio.subprocess.Process:
        """Starts ffmpeg, which sends test pictures and a tone. `arguments`: its codecs and outputs' options."""
        process = await asyncio.create_subprocess_exec(
            "ffmpeg", "-hide_banner", "-loglevel", "error", "-re", *VIDEO, "-re", *SOUND, *arguments, "-t", str(seconds),
            "-f", "flv", f"{self.url}/{key}", stdin=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        self.encoders.append(process)
        return process

    async def encode_with_pyav(self, key: str, codec: str) -> asyncio.subprocess.Process:
        """Starts an encoder with PyAV's libavformat, which knows Enhanced RTMP."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.ingest.pyav_encoder", f"{self.url}/{key}", codec,
            stdin=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        self.encoders.append(process)
        return process

    async def watch(self, identity: str = "viewer") -> Client:
        client = Client(self.http, self.server.url, token(identity, room_join=True, room_create=True))
        await client.join()
        return client


@asynccontextmanager
async def ingest_server(directory: Path, **settings: str) -> AsyncIterator[IngestServer]:
    flags = {
        "ingest.rtmp_port": "0",
        "ingest.keys_file": str(directory / "keys.json"),
        "ingest.pulls_file": "",
    } | dotted(settings)
    async with running_server(flags, lambda server: (server.signaling, server.ingests)) as (server, http):
        one = IngestServer(server, http)
        try:
            yield one
        finally:
            for process in one.encoders:
                with suppress(ProcessLookupError):
                    process.kill()
                await process.wait()


class Received:
    """Media that a client received, by payload kind."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.video: list[Rtp] = []
        self.audio: list[Rtp] = []

    def take(self) -> None:
        for packet in self._client.media():
            if packet.payload:
                (self.audio if packet.payload_type in (110, 111) else self.video).append(packet)
