"""One server and one honest pair for each file; a new HTTP session for each attack.

The pair sends 200 packets a second: it ends with the file, not with the process that runs the tests.
"""

from collections.abc import AsyncIterator

import aiohttp
import pytest_asyncio

from tests.attacks.field import Field


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def field() -> AsyncIterator[Field]:
    opened = Field()
    await opened.open()
    yield opened
    await opened.close()


@pytest_asyncio.fixture(loop_scope="session")
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session
