"""Hundreds of connections request the same URL at once; unauthenticated requests must cost little loop time."""

import asyncio
import itertools
import socket
import time
from collections.abc import Iterable
from pathlib import Path

import pytest
from prometheus_client.core import Metric

from sfu.telemetry.histogram import Histogram
from sfu.telemetry.metrics import Collector, Metrics, gauge, histogram, table
from sfu.telemetry.scrape_cache import MAX_WAITING, ScrapeCache
from tests.api.support import Server, running, token
from tests.support.cpu import attempts
from tests.support.loop_cost import measured
from tests.support.metrics import Fixed

MOST = 0.004
"""Maximum CPU seconds of one loop callback; accepting 128 connections takes 2 ms."""
EACH = 0.001
"""Maximum average CPU seconds per connection with its request."""
CROWD = 300
WEB = Path(__file__).parents[2] / "web"


def large() -> Collector:
    """As many families and samples as a busy server has."""
    times = Histogram()
    for number in range(1000):
        times.observe(number / 1000)
    routes = {("GET", f"/route/{number}", str(status)): number for number in range(30) for status in (200, 400, 404)}
    return Fixed(
        table("sfu_http_requests_total", "HTTP requests.", ["method", "route", "status"], routes),
        *(histogram(f"sfu_times_{number}_seconds", "Times.", times.distribution()) for number in range(10)),
        *(gauge(f"sfu_gauge_{number}", "A gauge.", number) for number in range(50)),
    )


class Rooms(Collector):
    """Counts its calls; fails while `broken`."""

    def __init__(self) -> None:
        self.rooms = 0
        self.broken = False
        self.calls: list[float] = []

    def collect(self) -> Iterable[Metric]:
        self.calls.append(time.monotonic())
        if self.broken:
            raise RuntimeError("broken")
        return [gauge("sfu_rooms", "Open rooms.", self.rooms)]


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
        async with running(page_root=WEB, access_log=False, collectors=[large()]) as server:
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
    rooms = Rooms()
    async with running(collectors=[rooms]) as server:
        for _ in range(2):
            await asyncio.gather(*(metrics_of(server) for _ in range(100)))
    assert 2 <= len(rooms.calls) <= 5
    assert all(later - earlier >= 0.99 for earlier, later in itertools.pairwise(rooms.calls))


async def test_metrics_are_not_older_than_the_request() -> None:
    rooms = Rooms()
    scrapes = ScrapeCache(Metrics([rooms]))
    for rooms.rooms in range(1, 4):
        assert f"sfu_rooms {rooms.rooms}.0".encode() in await scrapes.page()


async def test_waiting_scrapes_are_bounded_and_the_rest_get_the_last_page() -> None:
    scrapes = ScrapeCache(Metrics([Rooms()]))
    page = await scrapes.page()
    waiting = [asyncio.create_task(scrapes.page()) for _ in range(MAX_WAITING)]
    await asyncio.sleep(0)
    async with asyncio.timeout(0.5):
        assert await scrapes.page() == page
    await asyncio.gather(*waiting)
    assert scrapes.rendered == 2


async def test_a_failed_rendering_fails_its_requests_only() -> None:
    rooms = Rooms()
    scrapes = ScrapeCache(Metrics([rooms]))
    rooms.broken = True
    with pytest.raises(RuntimeError):
        await scrapes.page()
    rooms.broken = False
    assert b"sfu_rooms" in await scrapes.page()
