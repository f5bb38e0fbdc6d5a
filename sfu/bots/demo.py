"""The bots of `sfu serve --demo`: a process of their own beside the server, which ends with it whatever happens to it."""

import asyncio
import logging
import os
import sys
from typing import Final

from sfu.bots.cli import KEY_VARIABLE, SECRET_VARIABLE

log = logging.getLogger(__name__)

COUNT: Final = 3
SIZE: Final = "640x360"
AGAIN_AFTER: Final = 5.0
TRIES: Final = 5
SHUTDOWN_TIMEOUT: Final = 10.0


async def run_demo(url: str, *, room: str = "demo", count: int = COUNT, key: tuple[str, str] | None = None) -> None:
    """Runs until cancelled; never raises. `key`: name and secret to make tokens with, None in development mode.

    The bots' standard input is a pipe that nobody writes to: when this process is gone, they see its end and go as well.
    """
    environment = dict(os.environ)
    if key is not None:
        environment[KEY_VARIABLE], environment[SECRET_VARIABLE] = key
    arguments = [
        sys.executable, "-m", "sfu", "bot", "--url", url, "--room", room, "--count", str(count), "--size", SIZE,
        "--subscribe", "none", "--lively", "--interval", "0", "--until-eof",
    ]  # fmt: skip
    if url.startswith("https:"):
        arguments.append("--insecure")  # our own server, whose certificate names another host than loopback
    for _ in range(TRIES):
        try:
            process = await asyncio.create_subprocess_exec(*arguments, env=environment, stdin=asyncio.subprocess.PIPE)
        except OSError:
            log.exception("the demo bots could not be started")
            return
        try:
            status = await process.wait()
        except asyncio.CancelledError:
            await _end(process)
            raise
        log.warning("the demo bots ended", extra={"status": status})
        await asyncio.sleep(AGAIN_AFTER)


async def _end(process: asyncio.subprocess.Process) -> None:
    assert process.stdin is not None
    process.stdin.close()
    try:
        async with asyncio.timeout(SHUTDOWN_TIMEOUT):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
