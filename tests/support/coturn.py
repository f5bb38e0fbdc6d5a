"""A real coturn on this machine, which relays to loopback addresses so that a test needs no network of its own."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

missing = "" if shutil.which("turnserver") else "coturn is not installed"
"""Why there is no coturn here; empty: there is one."""
PORT = 3478
START_DEADLINE = 30.0


class Coturn:
    """One running server."""

    def __init__(self, host: str, process: asyncio.subprocess.Process, log: Path) -> None:
        self.host = host
        self.process = process
        self.log = log

    async def kill(self) -> None:
        """Ends it at once, as a crash does. Idempotent."""
        if self.process.returncode is None:
            self.process.kill()
            await self.process.wait()


@asynccontextmanager
async def coturn(
    folder: Path, host: str, secret: str, options: Sequence[str] = (), port: int = PORT
) -> AsyncIterator[Coturn]:
    """A server on `host`, a loopback address, that accepts UDP and TCP. `secret`: for the credentials of clients."""
    log = folder / f"coturn-{host}.log"
    words = (
        "-n", "--no-cli", "--fingerprint", "--use-auth-secret", f"--static-auth-secret={secret}", "--realm=example.org",
        f"--listening-ip={host}", f"--relay-ip={host}", f"--listening-port={port}", "--allow-loopback-peers",
        f"--pidfile={folder / f'coturn-{host}.pid'}", f"--userdb={folder / f'coturn-{host}.db'}", "--log-file=stdout",
        *(options or ("--no-tls", "--no-dtls")),
    )  # fmt: skip
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            "turnserver", *words, stdin=asyncio.subprocess.DEVNULL, stdout=output, stderr=output
        )
    server = Coturn(host, process, log)
    try:
        async with asyncio.timeout(START_DEADLINE):
            while not await _accepts(host, port):
                assert process.returncode is None, log.read_text(errors="replace")
                await asyncio.sleep(0.05)
        yield server
    finally:
        await server.kill()


async def _accepts(host: str, port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection(host, port)
    except OSError:
        return False
    writer.close()
    return True
