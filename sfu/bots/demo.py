"""Runs the bots of `sfu serve --demo` in a separate process, which always ends with the server."""

import asyncio
import logging
import os
import sys
from typing import Final

from sfu.bots.cli import KEY_VARIABLE, SECRET_VARIABLE

log = logging.getLogger(__name__)

COUNT: Final = 3
SIZE: Final = "640x360"
RESTART_DELAY: Final = 5.0
"""Seconds until bots that ended are started again."""
MAX_STARTS: Final = 5
SHUTDOWN_TIMEOUT: Final = 10.0


async def run_demo(url: str, *, room: str = "demo", count: int = COUNT, key: tuple[str, str] | None = None) -> None:
    """Runs until cancelled; never raises. `key`: name and secret of the API key, None in development mode.

    The standard input of the bots is a pipe. It closes when this process ends in any way, and the bots then stop.
    """
    environment = dict(os.environ)
    if key is not None:
        environment[KEY_VARIABLE], environment[SECRET_VARIABLE] = key
    arguments = [
        sys.executable, "-m", "sfu", "bot", "--url", url, "--room", room, "--count", str(count), "--size", SIZE,
        "--subscribe", "none", "--demo-behaviour", "--interval", "0", "--until-eof",
    ]  # fmt: skip
    if url.startswith("https:"):
        arguments.append("--insecure")  # the certificate of this server does not name the loopback address
    for _ in range(MAX_STARTS):
        try:
            process = await asyncio.create_subprocess_exec(*arguments, env=environment, stdin=asyncio.subprocess.PIPE)
        except OSError:
            log.exception("cannot start the demo bots")
            return
        try:
            status = await process.wait()
        except asyncio.CancelledError:
            await _stop(process)
            raise
        log.warning("the demo bots ended", extra={"status": status})
        await asyncio.sleep(RESTART_DELAY)


async def _stop(process: asyncio.subprocess.Process) -> None:
    assert process.stdin is not None
    process.stdin.close()
    try:
        async with asyncio.timeout(SHUTDOWN_TIMEOUT):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
