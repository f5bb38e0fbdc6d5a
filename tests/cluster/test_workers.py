"""Two worker processes, as real ones: any worker takes any client and any request. The tests share one server; the last ones
kill its workers."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from prometheus_client.parser import text_string_to_metric_families

from sfu.cluster.node_auth import CLIENT_HEADER, NODE_HEADER, SIGNATURE_HEADER
from tests.cluster.running import GRANTS, Workers, kill, until_up, workers
from tests.support.client import Client
from tests.web.server import token

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Workers]:
    async with workers(tmp_path_factory.mktemp("workers") / "log") as found:
        yield found


@pytest_asyncio.fixture(loop_scope="module")
async def running(server: Workers) -> AsyncIterator[Workers]:
    """The server, without clients and rooms of other tests."""
    yield server
    await server.close_clients()
    _, found = await server.api("GET", "/rooms")
    for room in found["rooms"]:
        await server.api("DELETE", f"/rooms/{room['name']}", room["name"])


async def home_of(running: Workers, room: str) -> int:
    """Number of the worker that serves a room."""
    found = []
    for number in (1, 2):
        session, authentication = running.internal(number)
        headers = authentication.sign("GET", "/api/v1/rooms", to=f"worker-{number}", client="192.0.2.1")
        headers["Authorization"] = f"Bearer {await token('', 'operator', '--list')}"
        async with session, session.get("/api/v1/rooms", headers=headers) as response:
            if room in [each["name"] for each in (await response.json())["rooms"]]:
                found.append(number)
    (home,) = found
    return home


async def media_flow(source: Client, *sinks: Client) -> None:
    """Waits until packets of all tracks of the source arrive at each sink."""
    tracks = set(source.tracks.values())
    got: dict[Client, set[str]] = {sink: set() for sink in sinks}

    def arrived() -> bool:
        source.send()
        for sink in sinks:
            got[sink] |= sink.arrived()
        return all(tracks <= found for found in got.values())

    await asyncio.gather(*(client.until(arrived) for client in (source, *sinks)))


async def test_clients_on_different_workers_meet(running: Workers) -> None:
    ada = await running.join("call", "ada", *GRANTS)
    home = await home_of(running, "call")
    near = await running.join_by(home, "call", "near")
    far = await running.join_by(3 - home, "call", "far")
    await far.publish()
    await near.publish()
    await media_flow(far, near, ada)
    await media_flow(near, far, ada)
    # The end of a forwarded socket reaches the client with its code and its reason.
    status, _ = await running.api("DELETE", "/rooms/call", "call")
    assert status == 204
    assert (await far.event("leave"))["reason"] == "room_closed"
    await asyncio.wait_for(far.closed.wait(), 10)
    assert (far.close_code, near.close_code) == (1000, 1000)


async def test_any_worker_answers_for_all(running: Workers) -> None:
    await running.join("call", "ada", *GRANTS)
    made = await asyncio.gather(*(running.api("POST", "/rooms", json={"name": f"room-{n}"}) for n in range(4)))
    assert [status for status, _ in made] == [201] * 4
    lists = [await running.api("GET", "/rooms") for _ in range(8)]
    names = {f"room-{n}" for n in range(4)} | {"call"}
    assert all({each["name"] for each in found["rooms"]} == names for _, found in lists)
    seen = [await running.api("GET", "/rooms/call/participants", "call") for _ in range(8)]
    assert [len(found["participants"]) for _, found in seen] == [1] * 8
    absent = [await running.api("GET", "/rooms/nowhere", "nowhere") for _ in range(4)]
    assert {(status, found["code"]) for status, found in absent} == {(404, "not_found")}

    async with running.http.get(f"{running.url}/metrics") as response:
        families = list(text_string_to_metric_families(await response.text()))
    samples = [sample for family in families for sample in family.samples]
    assert len({family.name for family in families}) == len(families)
    assert {sample.labels.get("worker") for sample in samples} == {"worker-1", "worker-2"}
    assert sum(sample.value for sample in samples if sample.name == "sfu_rooms") == 5


async def test_a_revocation_is_valid_on_all_workers(running: Workers) -> None:
    eve = await running.join("call", "eve")
    status, _ = await running.api("DELETE", "/rooms/call/participants/eve", "call")
    assert status == 204
    assert (await eve.event("leave"))["reason"] == "kicked"

    async def codes() -> set[Any]:
        clients = [Client(running.http, running.url, eve._token) for _ in range(6)]
        running.clients += clients
        return {(await client.join()).get("code") for client in clients}

    async with asyncio.timeout(10):
        while await codes() != {"token_revoked"}:
            pass


async def test_strangers_at_the_internal_listener(running: Workers) -> None:
    await running.join("call", "ada")
    other = 3 - await home_of(running, "call")
    session, authentication = running.internal(other)
    bearer = {"Authorization": f"Bearer {await token('call', 'operator', *GRANTS)}"}
    path = "/api/v1/rooms/call"
    async with session:

        async def status(headers: dict[str, str], target: str = path) -> int:
            async with session.get(target, headers=headers) as response:
                return response.status

        signed = authentication.sign("GET", path, to=f"worker-{other}", client="192.0.2.1")
        misdirected = authentication.sign("GET", path, to=f"worker-{3 - other}", client="192.0.2.1")
        assert await status(bearer) == 403
        assert await status({}, "/readyz") == 403
        assert await status({**bearer, **misdirected}) == 403
        for change in ({CLIENT_HEADER: "192.0.2.2"}, {NODE_HEADER: "worker-7"}, {SIGNATURE_HEADER: "00" * 32}):
            assert await status({**bearer, **signed, **change}) == 403
        # A request that was forwarded to the wrong node is not forwarded again.
        assert await status({**bearer, **signed}) == 503
        assert await status({**bearer, **signed}) == 403, "a replay"
    # On the public listener, the headers of nodes have no meaning.
    async with running.http.get(f"{running.url}{path}", headers={**bearer, **signed}) as response:
        assert response.status == 200
    async with running.http.post(f"{running.url}/internal/announce", headers=signed) as response:
        assert response.status == 404


async def test_a_killed_worker(running: Workers) -> None:
    ada = await running.join("call", "ada", *GRANTS)
    home = await home_of(running, "call")
    near = await running.join_by(home, "call", "near")
    far = await running.join_by(3 - home, "call", "far")
    rooms = [f"other-{number}" for number in range(64)]
    for other in rooms:
        bob = await running.join_by(3 - home, other, "bob", *GRANTS)
        if await home_of(running, other) != home:
            break
    eve = await running.join_by(3 - home, other, "eve")
    await bob.publish()
    await media_flow(bob, eve)

    await running.saved("call", far.state["participant"]["id"])
    assert [(await running.api("GET", "/rooms/call", "call"))[0] for _ in range(4)] == [200] * 4
    kill(running, home)
    # The other worker forgets the home that refuses connections: the answer is not 503. Until a participant returns, the room
    # has no home, unless the request itself finds that the home is dead.
    assert (await running.api("GET", "/rooms/call", "call"))[0] in (200, 404)
    await asyncio.wait_for(asyncio.gather(*(client.closed.wait() for client in (ada, near, far))), 10)
    assert far.close_code == 1012, "the landing node tells the client to resume"
    # Participants of the other worker are not affected.
    await media_flow(bob, eve)
    assert not bob.closed.is_set()
    # The room exists again at once, with the participants that return with their keys.
    back = await running.join("call", "far", resume=far.state["resume_key"])
    assert back.state["participant"]["id"] == far.state["participant"]["id"]
    assert back.state["rebuild"] is True
    newcomer = await running.join("call", "cat")
    await back.publish()
    await media_flow(back, newcomer)
    # The parent has restarted the worker.
    await until_up(running)
    ended = [record for record in running.server.records() if record["message"] == "a worker ended"]
    assert [(record["worker"], record["status"]) for record in ended] == [(home, -9)]


async def test_sigterm_ends_all_workers(server: Workers) -> None:
    ada = await server.join("call", "ada")
    assert await server.server.terminate() == 0
    assert (await ada.event("leave"))["reason"] == "moved"
    with pytest.raises(aiohttp.ClientConnectionError):
        await server.http.get(f"{server.url}/livez")
