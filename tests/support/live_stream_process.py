"""A server process with a live stream of test pictures, for as long as a block lasts."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

START_DEADLINE = 90.0


@asynccontextmanager
async def opened(*arguments: str) -> AsyncIterator[str]:
    """Its address."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.support.live_stream_server", *arguments),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        port = int(await asyncio.wait_for(process.stdout.readline(), START_DEADLINE))
        yield f"http://localhost:{port}"
    finally:
        process.stdin.close()
        try:
            await asyncio.wait_for(process.wait(), 10)
        except TimeoutError:
            process.kill()
            await process.wait()
