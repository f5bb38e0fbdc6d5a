import asyncio
import time
from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp import web

from sfu.api import loop_time
from sfu.api.loop_time import REQUEST_COST, REQUESTS_PER_TURN, Gate, MeteredAwaitable
from sfu.api.settings import Settings
from sfu.forwarding.loop_budget import LoopBudget
from tests.api.support import running
from tests.support.cpu import attempts


def busy(seconds: float) -> None:
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


async def test_each_step_is_measured_and_waiting_is_not() -> None:
    async def work() -> str:
        busy(0.01)
        await asyncio.sleep(0.05)
        busy(0.02)
        return "done"

    for attempt in attempts():
        charged: list[float] = []
        assert await MeteredAwaitable(work(), charged.append) == "done"
        assert len(charged) == 2
        assert charged[0] >= 0.01
        assert charged[1] >= 0.02
        attempt.spent(charged[0] - 0.01, 0.005)
        attempt.spent(charged[1] - 0.02, 0.005)


async def test_only_the_first_steps_are_measured_when_asked() -> None:
    async def work() -> None:
        await asyncio.sleep(0)
        busy(0.01)

    for attempt in attempts():
        charged: list[float] = []
        await MeteredAwaitable(work(), charged.append, steps=1)
        assert len(charged) == 1
        attempt.spent(charged[0], 0.005)


@pytest.mark.parametrize("steps", [0, 1])
async def test_errors_and_cancellation_propagate(steps: int) -> None:
    seen: list[str] = []

    async def fails() -> None:
        await asyncio.sleep(0)
        raise ValueError("mine")

    async def waits() -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise

    with pytest.raises(ValueError, match="mine"):
        await MeteredAwaitable(fails(), lambda _: None, steps)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await MeteredAwaitable(waits(), lambda _: None, steps)
    assert seen == ["cancelled"]


async def test_gate_admits_a_few_requests_per_iteration_in_order() -> None:
    gate = Gate(LoopBudget(1.0, 1.0, time.monotonic()))
    order: list[int] = []

    async def request(number: int) -> None:
        assert await gate.enter()
        order.append(number)

    waiting = [asyncio.create_task(request(number)) for number in range(5 * REQUESTS_PER_TURN)]
    before = 0
    while len(order) < len(waiting):
        await asyncio.sleep(0)
        assert len(order) - before <= REQUESTS_PER_TURN
        before = len(order)
    assert order == sorted(order)


async def test_gate_drops_cancelled_requests() -> None:
    budget = LoopBudget(1.0, 0.1, time.monotonic())
    gate = Gate(budget)
    budget.charge(0.2, time.monotonic())
    gone = asyncio.create_task(gate.enter())
    await asyncio.sleep(0)
    gone.cancel()
    assert await gate.enter()


@pytest.fixture
async def unauthenticated_budget() -> LoopBudget:
    return LoopBudget(0.35, 0.5, time.monotonic())


@pytest.fixture
async def url(unauthenticated_budget: LoopBudget) -> AsyncIterator[str]:
    async def public(request: web.Request) -> web.Response:
        busy(0.002)
        return web.Response(text="ok")

    async def echo(request: web.Request) -> web.Response:
        return web.Response(body=await request.read())

    async def socket(request: web.Request) -> web.WebSocketResponse:
        answer = web.WebSocketResponse()
        await answer.prepare(request)
        async for message in answer:
            await answer.send_str(message.data)
        return answer

    async def preflight(request: web.Request) -> web.Response:
        return web.Response(status=204)

    routes = [
        web.get("/public", public),
        web.get("/hls/x", public),
        web.options("/hls/x", preflight),
        web.post("/echo", echo),
        web.get("/socket", socket),
    ]
    async with running(
        Settings(port=0, base_path="/meet"), unauthenticated_budget=unauthenticated_budget, routes=routes
    ) as server:
        yield server.site.name


async def test_unauthenticated_requests_wait_for_budget(url: str, unauthenticated_budget: LoopBudget) -> None:
    async with aiohttp.ClientSession() as http:
        async with http.get(f"{url}/public", headers={"Connection": "close"}) as answer:
            assert answer.status == 200
        assert unauthenticated_budget.used >= 0.002
        unauthenticated_budget.charge(0.5 + 0.35 * 1.0, time.monotonic())
        async with asyncio.timeout(5):
            for path in ("/livez", "/meet/livez"):
                # a probe on a new connection never waits
                async with http.get(f"{url}{path}", headers={"Connection": "close"}) as answer:
                    assert answer.status == 200
            assert not unauthenticated_budget.admits(time.monotonic())
            async with http.get(f"{url}/public") as answer:
                assert answer.status == 200
        assert unauthenticated_budget.throttled >= 1


@pytest.mark.parametrize("base", ["", "/meet"])
async def test_authorized_connections_do_not_wait_for_unauthenticated_ones(
    url: str, unauthenticated_budget: LoopBudget, base: str
) -> None:
    url += base
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=1)) as http:
        async with http.get(f"{url}/hls/x") as answer:
            assert answer.status == 200
        for _ in range(5):
            unauthenticated_budget.charge(1.0, time.monotonic())
        for attempt in attempts():
            used = unauthenticated_budget.used
            async with asyncio.timeout(5):
                for _ in range(10):
                    async with http.get(f"{url}/hls/x") as answer:
                        assert answer.status == 200
            attempt.spent(unauthenticated_budget.used - used, 0.01)


async def test_deferred_reads_keep_their_order(
    url: str, unauthenticated_budget: LoopBudget, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop_time, "READ_SLICE", 1e-9)
    host, port = url.removeprefix("http://").split(":")

    async def ask(number: int) -> None:
        reader, writer = await asyncio.open_connection(host, int(port))
        request = f"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 6000\r\n\r\n{f'{number:06}' * 1000}".encode()
        for at in range(0, len(request), 700):
            writer.write(request[at : at + 700])
            await asyncio.sleep(0)
        head = await reader.readuntil(b"\r\n\r\n")
        assert b"200 OK" in head
        assert await reader.readexactly(6000) == f"{number:06}".encode() * 1000
        writer.close()

    async with asyncio.timeout(20):
        await asyncio.gather(*[ask(number) for number in range(60)])


async def test_sockets_are_read_while_the_unauthenticated_budget_is_empty(
    url: str, unauthenticated_budget: LoopBudget
) -> None:
    async with aiohttp.ClientSession() as http, http.ws_connect(f"{url}/socket") as socket:
        for _ in range(3):
            unauthenticated_budget.charge(100.0, time.monotonic())
        async with asyncio.timeout(1):
            for _ in range(20):
                await socket.send_str("x")
                assert await socket.receive_str() == "x"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("OPTIONS", "/hls/x", 204), ("OPTIONS", "/api/v1/rooms", 204), ("GET", "/hls/y", 404)],
)
async def test_public_routes_do_not_authorize_a_connection(
    url: str, unauthenticated_budget: LoopBudget, method: str, path: str, status: int
) -> None:
    headers = {"Origin": url, "Access-Control-Request-Method": "GET"}
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=1)) as http:
        async with http.request(method, f"{url}{path}", headers=headers) as answer:
            assert answer.status == status
        used = unauthenticated_budget.used
        for _ in range(20):
            async with http.request(method, f"{url}{path}", headers=headers) as answer:
                assert answer.status == status
        assert unauthenticated_budget.used - used > 20 * REQUEST_COST


async def test_authorized_request_on_a_new_connection_is_not_charged_to_the_unauthenticated_budget(
    url: str, unauthenticated_budget: LoopBudget
) -> None:
    """A proxy without keep-alive opens a connection for each request of each viewer."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as http:
        for attempt in attempts():
            used = unauthenticated_budget.used
            for _ in range(20):
                async with http.get(f"{url}/hls/x") as answer:
                    assert answer.status == 200
            attempt.spent(unauthenticated_budget.used - used, 20 * 0.002)


async def test_authorized_connections_share_a_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many authorized connections together leave loop time for media."""
    monkeypatch.setattr(loop_time, "ALL_AUTHORIZED_SHARE", 0.1)
    monkeypatch.setattr(loop_time, "ALL_AUTHORIZED_BURST", 0.1)
    async with running(routes=[web.get("/hls/x", slow)]) as server, aiohttp.ClientSession() as http:

        async def viewer() -> None:
            for _ in range(6):
                async with http.get(f"{server.site.name}/hls/x") as answer:
                    assert answer.status == 200

        began = time.monotonic()
        await asyncio.gather(*[viewer() for _ in range(10)])  # 0.3 s of work, of which the burst allows 0.1 s
        assert time.monotonic() - began > 1.0


async def slow(request: web.Request) -> web.Response:
    busy(0.005)
    return web.Response(text="ok")


async def test_request_that_waited_too_long_is_refused_with_the_reason(
    url: str, unauthenticated_budget: LoopBudget, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop_time, "QUEUE_TIMEOUT", 0.1)
    async with aiohttp.ClientSession() as http:
        unauthenticated_budget.charge(5.0, time.monotonic())
        async with http.get(f"{url}/public") as answer:
            assert answer.status == 503
            assert answer.headers["Retry-After"]
            assert (await answer.json())["code"] == "at_capacity"
