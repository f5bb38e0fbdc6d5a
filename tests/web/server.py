"""A server as an operator runs it: the command, in a process of its own, on free ports of this machine."""

import asyncio
import contextlib
import io
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp

from sfu import cli
from tests.support.ports import free_port

START_DEADLINE = 90.0
STOP_DEADLINE = 15.0
KEYS = {"SFU_AUTH__KEYS": "{web: a-secret-of-the-tests-with-more-than-32-bytes}"}
"Environment of a server that is not in development mode."


class ServerProcess:
    """A running `sfu serve`. Its log is a file of JSON lines."""

    def __init__(
        self, process: asyncio.subprocess.Process, port: int, log: Path, scheme: str, host: str = "localhost"
    ) -> None:
        self.process = process
        self.port = port
        self.log = log
        self.url = f"{scheme}://{host}:{port}"

    def records(self) -> list[dict[str, object]]:
        """Its log until now; a line that is not JSON (a traceback of the interpreter) counts as an error."""
        found = []
        for line in self.log.read_text(errors="replace").splitlines():
            try:
                found.append(json.loads(line))
            except ValueError:
                found.append({"level": "error", "message": line})
        return found

    def errors(self) -> list[dict[str, object]]:
        return [record for record in self.records() if record["level"] in ("error", "critical")]

    async def terminate(self) -> int:
        """Asks it to end and waits; the exit code."""
        if self.process.returncode is None:
            self.process.send_signal(signal.SIGTERM)
        return await asyncio.wait_for(self.process.wait(), STOP_DEADLINE)


async def token(room: str, identity: str, *flags: str) -> str:
    """Creates a token with the command's code. A process for each would take half a second of CPU time."""
    keys = ("--set", f"auth.keys={KEYS['SFU_AUTH__KEYS']}")
    with contextlib.redirect_stdout(io.StringIO()) as output:
        assert cli.main(["token", *keys, "--room", room, "--identity", identity, *flags]) == 0
    return output.getvalue().strip()


@asynccontextmanager
async def serve(
    log: Path,
    settings: Mapping[str, object] | None = None,
    environment: Mapping[str, str] | None = None,
    *arguments: str,
    scheme: str = "http",
    port: int = 0,
    host: str = "localhost",
    command: tuple[str, ...] = (),
) -> AsyncIterator[ServerProcess]:
    """A server that answers; ended, if it has not ended by itself, when the block is left. `host`: where it is reached.
    `command`: runs the server, e.g. on another host."""
    port = port or free_port()
    given = {
        "rtc.udp_port": free_port(socket.SOCK_DGRAM),
        "log.format": "json",
        "log.access": "false",
        **(settings or {}),
    }
    flags = [word for key, value in given.items() for word in ("--set", f"{key}={value}")]
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("SFU_")}
    with log.open("ab") as output:
        process = await asyncio.create_subprocess_exec(
            *(*command, sys.executable, "-m", "sfu", "serve", "--port", str(port)),
            *flags,
            *arguments,
            env={**inherited, **(environment or {})},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    server = ServerProcess(process, port, log, scheme, host)
    try:
        await _answers(server)
        yield server
    finally:
        try:
            await server.terminate()
        except TimeoutError:
            process.kill()
            await process.wait()


async def _answers(server: ServerProcess) -> None:
    deadline = asyncio.get_running_loop().time() + START_DEADLINE
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=False)) as client:
        while True:
            try:
                async with client.get(f"{server.url}/readyz") as response:
                    if response.status == 200:
                        return
            except aiohttp.ClientError:
                pass
            ended = server.process.returncode is not None
            if ended or asyncio.get_running_loop().time() > deadline:
                raise RuntimeError(f"the server did not start:\n{server.log.read_text(errors='replace')}")
            await asyncio.sleep(0.05)
