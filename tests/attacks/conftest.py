"""One server and one honest pair for the whole folder; a new HTTP session for each attack."""

from collections.abc import AsyncIterator

import aiohttp
import pytest_asyncio

from tests.attacks.field import Field


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def field() -> AsyncIterator[Field]:
    opened = Field()
    await opened.open()
    yield opened
    await opened.close()


@pytest_asyncio.fixture(loop_scope="session")
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session
