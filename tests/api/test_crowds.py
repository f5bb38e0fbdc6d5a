"""Hundreds of connections request the same URL at once; unauthenticated requests must cost little loop time."""

import asyncio
import itertools
import socket
import time
from pathlib import Path

import pytest

from sfu.telemetry.histogram import Histogram
from sfu.telemetry.metrics import Metrics, Snapshot
from sfu.telemetry.scrape_cache import MAX_WAITING, ScrapeCache
from tests.api.support import Server, running, token
from tests.support.cpu import attempts
from tests.support.loop_cost import measured

MOST = 0.004
"""Maximum CPU seconds of one loop callback; accepting 128 connections takes 2 ms."""
EACH = 0.001
"""Maximum average CPU seconds per connection with its request."""
CROWD = 300
WEB = Path(__file__).parents[2] / "web"


def large() -> Snapshot:
    histogram = Histogram()
    for number in range(1000):
        histogram.observe(number / 1000)
    routes = {("GET", f"/route/{number}", str(status)): number for number in range(30) for status in (200, 400, 404)}
    return Snapshot(
        version="test", http_requests=routes, rtt=histogram.distribution(), loop_lag=histogram.distribution()
    )


def ask_together(port: int, path: str, *headers: str) -> list[bytes]:
    """Blocking; runs in a thread."""
    lines = (f"GET {path} HTTP/1.1", "Host: here", "Accept-Encoding: gzip", "Connection: close", *headers, "", "")
    data = "\r\n".join(lines).encode()
    sockets = [socket.create_connection(("127.0.0.1", port), timeout=20) for _ in range(CROWD)]
    for each in sockets:
        each.sendall(data)
    answers = []
    for each in sockets:
        answer = b""
        while chunk := each.recv(1 << 20):
            answer += chunk
        answers.append(answer)
        each.close()
    return answers


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/metrics", b"200"),
        ("/api/openapi.json", b"200"),
        ("/healthz", b"200"),
        ("/readyz", b"200"),
        ("/", b"200"),
        ("/r/room", b"200"),
        (f"/static/{next((WEB / 'page').glob('*.js')).relative_to(WEB)}", b"200"),
        ("/api/dev", b"200"),
        ("/api/v1/rooms", b"401"),
        ("/nowhere", b"404"),
    ],
)
async def test_many_unauthenticated_connections(path: str, status: bytes) -> None:
    for attempt in attempts():
        async with running(page_root=WEB, access_log=False) as server:
            server.node.snapshot = large  # type: ignore[method-assign]
            with measured() as cost:
                answers = await asyncio.to_thread(ask_together, server.port, path)
            assert {answer[9:12] for answer in answers} == {status}
            attempt.spent(cost.longest, MOST, cost)
            attempt.spent(cost.total / CROWD, EACH, cost)


async def test_many_wrong_tokens() -> None:
    for attempt in attempts():
        async with running(access_log=False) as server:
            with measured() as cost:
                wrong = f"Authorization: Bearer {token(room_list=True)}x"
                answers = await asyncio.to_thread(ask_together, server.port, "/api/v1/rooms", wrong)
            assert {answer[9:12] for answer in answers} == {b"401"}
            attempt.spent(cost.longest, MOST, cost)


async def metrics_of(server: Server) -> str:
    status, text = await server.ask("GET", "/metrics")
    assert status == 200
    return str(text)


async def test_metrics_are_rendered_once_a_second() -> None:
    async with running() as server:
        taken: list[float] = []

        def snapshot() -> Snapshot:
            taken.append(time.monotonic())
            return Snapshot(version="test")

        server.node.snapshot = snapshot  # type: ignore[method-assign]
        for _ in range(2):
            await asyncio.gather(*(metrics_of(server) for _ in range(100)))
        assert 2 <= len(taken) <= 5
        assert all(later - earlier >= 0.99 for earlier, later in itertools.pairwise(taken))


async def test_metrics_are_not_older_than_the_request() -> None:
    rooms = 0
    scrapes = ScrapeCache(Metrics(lambda: Snapshot(rooms=rooms)))
    for rooms in range(1, 4):  # the snapshot reads it
        assert f"sfu_rooms {rooms}.0".encode() in await scrapes.page()


async def test_waiting_scrapes_are_bounded_and_the_rest_get_the_last_page() -> None:
    scrapes = ScrapeCache(Metrics(Snapshot))
    page = await scrapes.page()
    waiting = [asyncio.create_task(scrapes.page()) for _ in range(MAX_WAITING)]
    await asyncio.sleep(0)
    async with asyncio.timeout(0.5):
        assert await scrapes.page() == page
    await asyncio.gather(*waiting)
    assert scrapes.rendered == 2


async def test_a_failed_rendering_fails_its_requests_only() -> None:
    broken = [True]

    def snapshot() -> Snapshot:
        if broken.pop():
            raise RuntimeError("broken")
        return Snapshot()

    broken.insert(0, False)
    scrapes = ScrapeCache(Metrics(snapshot))
    with pytest.raises(RuntimeError):
        await scrapes.page()
    assert b"sfu_rooms" in await scrapes.page()
