"""Worker processes, which decode untrusted media and must not see secrets of the server."""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Final

from sfu.resources.media_clock import OFFSET, OFFSET_VARIABLE

INHERITED: Final = ("PATH", "PYTHONPATH", "LANG", "LC_ALL", "TZ", "HOME", "LD_LIBRARY_PATH", "XDG_DATA_DIRS")
"""Environment variables that a worker inherits; others may hold secrets of the server."""


def worker_environment() -> dict[str, str]:
    return {name: os.environ[name] for name in INHERITED if name in os.environ} | {OFFSET_VARIABLE: repr(OFFSET)}


@dataclass(frozen=True, slots=True)
class Worker:
    """A running process and the server's end of its socket."""

    pid: int
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter


@asynccontextmanager
async def running_worker(module: str, *arguments: str) -> AsyncIterator[Worker]:
    """Runs a Python module in a process and kills it at the end.

    Its first argument is the descriptor of a stream socket that is connected to the server. Raises OSError.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    ours.setblocking(False)
    try:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", module, str(theirs.fileno()), *arguments, pass_fds=(theirs.fileno(),),
            stdin=asyncio.subprocess.DEVNULL, env=worker_environment(),
        )  # fmt: skip
    except BaseException:
        ours.close()
        raise
    finally:
        theirs.close()
    writer: asyncio.StreamWriter | None = None
    try:
        reader, writer = await asyncio.open_connection(sock=ours)
        yield Worker(process.pid, reader, writer)
    finally:
        if writer is not None:
            writer.transport.abort()
        if process.returncode is None:
            with suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)
        await asyncio.shield(process.wait())
