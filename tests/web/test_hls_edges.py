"""Chromium watches a live stream at a node that does not mix it: two nodes over Redis."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import pytest_asyncio
from playwright.async_api import Browser

from tests.support.client import Client
from tests.support.ports import free_port
from tests.support.redis import RedisServer
from tests.support.redis import running as redis_running
from tests.web.server import KEYS, ServerProcess, serve, token
from tests.web.test_watch import Viewer

ROOM = "show"
GRANTS = ("--admin", "--create", "--record", "--egress")


@dataclass
class Cluster:
    origin: ServerProcess
    edge: ServerProcess
    http: aiohttp.ClientSession
    host: Client
    clients: list[Client] = field(default_factory=list)

    async def hls_requests(self, server: ServerProcess) -> int:
        async with self.http.get(f"{server.url}/metrics") as response:
            counts = re.findall(
                r'^sfu_http_requests_total\{.*"/hls/\{room\}/\{path\}".*\} (\d+)', await response.text(), re.M
            )
        return sum(map(int, counts))


@pytest_asyncio.fixture(loop_scope="session")
async def cluster(tmp_path: Path) -> AsyncIterator[Cluster]:
    async with AsyncExitStack() as stack:
        redis = await stack.enter_async_context(redis_running(RedisServer(tmp_path)))
        nodes = []
        for name in ("origin", "edge"):
            environment = {
                **KEYS,
                "SFU_CLUSTER__REDIS_URL": redis.url,
                "SFU_CLUSTER__SECRETS": "s" * 32,
                "SFU_CLUSTER__NODE_ID": name,
                "SFU_CLUSTER__LISTEN": f"127.0.0.1:{free_port()}",
                "SFU_OUTPUTS__RENDITIONS": '["320x180@200"]',
                "SFU_OUTPUTS__HLS__PUBLIC": f'["{ROOM}"]',
                "SFU_OUTPUTS__HLS__DIRECTORY": str(tmp_path / name),
                "SFU_EGRESS__DIRECTORY": str(tmp_path / f"{name}-recordings"),
            }
            settings = {"rtc.include_loopback": "true", "signaling.resume_window": 5}
            nodes.append(await stack.enter_async_context(serve(tmp_path / f"{name}.log", settings, environment)))
        http = await stack.enter_async_context(aiohttp.ClientSession())
        host = Client(http, nodes[0].url, await token(ROOM, "host", *GRANTS))
        host.state = await host.join()
        stack.push_async_callback(host.close)
        assert host.state["type"] == "joined", host.state
        found = Cluster(nodes[0], nodes[1], http, host)
        yield found
        await asyncio.gather(*(client.close() for client in found.clients), return_exceptions=True)


async def start_live(cluster: Cluster) -> None:
    bearer = {"Authorization": f"Bearer {cluster.host._token}"}
    async with cluster.http.put(
        f"{cluster.edge.url}/api/v1/rooms/{ROOM}/egress", headers=bearer, json={"live": True}
    ) as response:
        assert response.status < 300, await response.text()


async def watching(cluster: Cluster, browser: Browser) -> Viewer:
    page = await (await browser.new_context()).new_page()
    viewer = Viewer(page)
    await page.goto(f"{cluster.edge.url}/watch/{ROOM}")
    await viewer.until("the page", "() => Boolean(globalThis.sfuWatch)")
    return viewer


async def test_viewers_at_an_edge(cluster: Cluster, chromium: Browser) -> None:
    await start_live(cluster)
    viewers = [await watching(cluster, chromium) for _ in range(3)]
    try:
        for viewer in viewers:
            await viewer.plays(60.0)
        before = await cluster.hls_requests(cluster.origin), await cluster.hls_requests(cluster.edge)
        for viewer in viewers:
            await viewer.plays()
        fetched = await cluster.hls_requests(cluster.origin) - before[0]
        answered = await cluster.hls_requests(cluster.edge) - before[1]
        assert 0 < fetched < 0.7 * answered, (fetched, answered)
        assert [viewer.failures for viewer in viewers] == [[]] * 3
    finally:
        for viewer in viewers:
            await viewer.page.context.close()
    assert (cluster.origin.errors(), cluster.edge.errors()) == ([], [])


async def sequence(cluster: Cluster, stream: str) -> list[tuple[int, int]]:
    """Media sequence number and discontinuity sequence number of the live playlist at the edge; empty: no answer."""
    async with cluster.http.get(f"{cluster.edge.url}/hls/{ROOM}/{stream}/180p.m3u8") as response:
        text = await response.text()
    if response.status != 200:
        return []
    found = re.search(r"#EXT-X-MEDIA-SEQUENCE:(\d+)", text), re.search(r"#EXT-X-DISCONTINUITY-SEQUENCE:(\d+)", text)
    return [(int(found[0][1]) if found[0] else -1, int(found[1][1]) if found[1] else 0)]


async def resume(cluster: Cluster) -> None:
    """The host returns at the other node, and tries again as clients do."""
    async with asyncio.timeout(30):
        while True:
            back = Client(cluster.http, cluster.edge.url, cluster.host._token)
            cluster.clients.append(back)
            with suppress(aiohttp.ClientError, TimeoutError):
                answer = await back.join(resume=cluster.host.state["resume_key"])
                if answer["type"] == "joined":
                    return
            await asyncio.sleep(0.1)


WATCH_STALLS = """() => {
    let last = performance.now(), at = sfuWatch.video.currentTime;
    globalThis.longestStall = 0;
    const look = () => {
        const now = performance.now();
        if (sfuWatch.video.currentTime !== at) [at, last] = [sfuWatch.video.currentTime, now];
        else globalThis.longestStall = Math.max(globalThis.longestStall, now - last);
        requestAnimationFrame(look);
    };
    look();
}"""


async def test_the_live_stream_continues_when_its_node_is_killed(cluster: Cluster, chromium: Browser) -> None:
    await start_live(cluster)
    viewer = await watching(cluster, chromium)
    try:
        await viewer.plays(60.0)
        await viewer.run(WATCH_STALLS)
        async with cluster.http.get(f"{cluster.edge.url}/hls/{ROOM}/state") as response:
            stream = (await response.json())["stream_id"]
        numbers = await sequence(cluster, stream)
        cluster.origin.process.kill()
        await cluster.origin.process.wait()
        await resume(cluster)
        async with asyncio.timeout(60):
            while numbers[-1][0] <= numbers[0][0] + 1:
                numbers += await sequence(cluster, stream)
                await asyncio.sleep(0.1)
        assert numbers == sorted(numbers), "no number falls"
        await viewer.plays(60.0)
        async with cluster.http.get(f"{cluster.edge.url}/hls/{ROOM}/state") as response:
            assert (await response.json())["stream_id"] == stream
        print(f"longest stall: {await viewer.run('() => globalThis.longestStall') / 1000:.2f} s")
        assert viewer.failures == []
    finally:
        await viewer.page.context.close()
    assert cluster.edge.errors() == []
