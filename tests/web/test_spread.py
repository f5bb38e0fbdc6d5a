"""A meeting of Chromium pages on two nodes: each page talks to its own node, and the nodes relay the media."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import aiohttp
import pytest_asyncio
from playwright.async_api import Browser

from tests.support.ports import free_port
from tests.support.redis import SECRETS, RedisServer, running
from tests.web.guest import gathering
from tests.web.server import ServerProcess, serve

NODES = ("home", "edge")


@pytest_asyncio.fixture(loop_scope="session")
async def nodes(tmp_path: Path) -> AsyncIterator[dict[str, ServerProcess]]:
    """Two nodes that know each other."""
    async with AsyncExitStack() as stack:
        redis = await stack.enter_async_context(running(RedisServer(tmp_path)))
        found = {}
        for name in NODES:
            settings = {
                "cluster.node_id": name,
                "cluster.listen": f"127.0.0.1:{free_port()}",
                "cluster.secrets": f"[{SECRETS[0]}]",
                "rtc.include_loopback": "true",
                "rooms.spread_above": 1,
            }
            log = tmp_path / f"{name}.log"
            found[name] = await stack.enter_async_context(serve(log, settings, None, "--redis", redis.url))
        yield found


async def mirrored_rooms(node: ServerProcess) -> str:
    async with aiohttp.ClientSession() as client, client.get(f"{node.url}/metrics") as answer:
        page = await answer.text()
    return next(line for line in page.splitlines() if line.startswith("sfu_cluster_mirrored_rooms "))


async def test_pages_on_two_nodes_meet(chromium: Browser, nodes: dict[str, ServerProcess]) -> None:
    home, edge = nodes["home"], nodes["edge"]
    async with gathering(chromium, home.url, "town-hall") as meeting:
        ada = await meeting.join("Ada")
        bob = await meeting.join("Bob", url=edge.url)
        cleo = await meeting.join("Cleo", url=edge.url)
        assert await mirrored_rooms(edge) == "sfu_cluster_mirrored_rooms 1.0"
        for one, others in ((ada, (bob, cleo)), (bob, (ada, cleo)), (cleo, (ada, bob))):
            for other in others:
                await one.sees(await other.track())
                await one.hears(await other.track("microphone"))
        await bob.run("() => sfu.room.chat('Hello from the edge')")
        for one in (ada, bob, cleo):
            await one.until("the message", "() => sfu.room.state.chat.length === 1")
        # The home is killed: its page has lost its server, the others go on without a join or a reload.
        home.process.kill()
        await home.process.wait()
        await bob.run("() => sfu.room.chat('Still here')")
        await cleo.until("the next message", "() => sfu.room.state.chat.length === 2", within=60)
        await bob.sees(await cleo.track())
        for one in (bob, cleo):
            assert await one.run("() => sfu.room.state.phase") == "joined"
            assert one.failures == []
