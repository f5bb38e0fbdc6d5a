"""Operations on nodes with two real worker processes: the list of nodes, a room that moves, and a node that drains."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from sfu import __version__, cli
from tests.cluster.running import Workers, workers
from tests.support.client import Client
from tests.web.server import KEYS, token

pytestmark = pytest.mark.asyncio(loop_scope="module")

OPERATOR = ("--create", "--list")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Workers]:
    async with workers(tmp_path_factory.mktemp("nodes") / "log") as found:
        for number in (1, 2):
            await until_known(found, number, [False, False])
        yield found


async def until_known(running: Workers, number: int, draining: list[bool]) -> None:
    """Waits until a worker knows which workers drain."""
    session, authentication = running.internal(number)
    async with session, asyncio.timeout(10):
        known: list[bool] = []
        while known != draining:
            headers = authentication.sign("GET", "/api/v1/nodes", to=f"worker-{number}")
            headers["Authorization"] = f"Bearer {await token('', 'operator', '--list')}"
            async with session.get("/api/v1/nodes", headers=headers) as response:
                known = [node["draining"] for node in (await response.json())["nodes"]]


async def home_of(running: Workers) -> str:
    """The node that has the only room."""
    async with asyncio.timeout(10):
        while True:
            _, found = await running.api("GET", "/nodes")
            homes = [node["id"] for node in found["nodes"] if node["rooms"]]
            if len(homes) == 1:
                return str(homes[0])
            await asyncio.sleep(0.05)


def other(node: str) -> str:
    return {"worker-1": "worker-2", "worker-2": "worker-1"}[node]


async def command(running: Workers, *arguments: str) -> int:
    keys = ("--set", f"auth.keys={KEYS['SFU_AUTH__KEYS']}")
    return await asyncio.to_thread(cli.main, [*arguments, *keys, "--url", running.url])


async def test_nodes(running: Workers, capsys: pytest.CaptureFixture[str]) -> None:
    assert await command(running, "nodes") == 0
    header, *rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert header == ["NODE", "URL", "LOAD", "ROOMS", "PARTICIPANTS", "VERSION", "DRAINING", "AGE"]
    assert [row[0] for row in rows] == ["worker-1", "worker-2"]
    assert {(row[3], row[5], row[6]) for row in rows} == {("0", __version__, "no")}
    assert all(row[1].startswith("unix:/") for row in rows)


async def test_a_room_moves_with_its_state(running: Workers, capsys: pytest.CaptureFixture[str]) -> None:
    ada = await running.join("call", "ada", "--admin", "--create")
    bob = await running.join("call", "bob")
    assert (await bob.request("chat", text="before the move"))["type"] == "ok"
    assert (await running.api("PATCH", "/rooms/call", "call", json={"locked": True}))[0] == 200
    former = await home_of(running)
    assert await command(running, "rooms", "move", "call", other(former)) == 0
    assert capsys.readouterr().out == f"call is on {other(former)} now.\n"

    for client in (ada, bob):
        assert (await client.event("leave"))["reason"] == "moved"
    back = await running.join("call", "bob", resume=bob.state["resume_key"])
    assert back.state["participant"]["id"] == bob.state["participant"]["id"]
    assert back.state["room"]["id"] == ada.state["room"]["id"]
    assert back.state["room"]["locked"] is True
    assert [each["text"] for each in back.state["chat"]] == ["before the move"]
    assert await home_of(running) == other(former)
    again = await running.join("call", "ada", "--admin", resume=ada.state["resume_key"])
    assert len(again.state["participants"]) == 1
    await again.leave()
    await back.leave()
    assert (await running.api("DELETE", "/rooms/call", "call"))[0] == 204


async def test_a_drained_node_has_no_rooms_and_takes_none(running: Workers, capsys: pytest.CaptureFixture[str]) -> None:
    ada = await running.join("call", "ada", "--create")
    former = await home_of(running)
    assert await command(running, "drain", former, "--timeout", "20") == 0
    assert capsys.readouterr().out == f"{former} is empty.\n"
    assert (await ada.event("leave"))["reason"] == "moved"
    back = await running.join("call", "ada", resume=ada.state["resume_key"])
    assert back.state["participant"]["id"] == ada.state["participant"]["id"]
    created = await asyncio.gather(*(running.api("POST", "/rooms", json={"name": f"new-{n}"}) for n in range(6)))
    assert [status for status, _ in created] == [201] * 6
    status, found = await running.api("GET", f"/nodes/{former}")
    assert (status, found["rooms"], found["draining"]) == (200, 0, True)

    # A room does not move to it, also when the sender does not know of the drain yet; the last node cannot drain.
    status, problem = await operate(running, "POST", "/rooms/call/move", {"node": former})
    assert (status, problem["message"]) == (503, f"The node {former} accepts no rooms: draining.")
    await until_known(running, int(other(former)[-1]), [former == "worker-1", former == "worker-2"])
    status, problem = await operate(running, "POST", "/rooms/call/move", {})
    assert (status, problem["message"]) == (503, "No other node accepts rooms.")
    status, problem = await operate(running, "POST", f"/nodes/{other(former)}/drain")
    assert (status, problem["code"]) == (409, "last_node")
    assert not back.closed.is_set()

    assert await command(running, "drain", former, "--undo") == 0
    assert (await operate(running, "POST", "/rooms/call/move", {"node": former}))[0] == 200
    await running.api("DELETE", "/rooms/call", "call")
    await asyncio.gather(*(running.api("DELETE", f"/rooms/new-{n}") for n in range(6)))


async def test_wrong_nodes_and_rooms(running: Workers, capsys: pytest.CaptureFixture[str]) -> None:
    ada = await running.join("call", "ada", "--create")
    node = await home_of(running)
    refused = {
        ("POST", "/rooms/call/move", "worker-7"): (404, "not_found"),
        ("POST", "/rooms/call/move", node): (409, "conflict"),
        ("POST", "/rooms/nowhere/move", node): (404, "not_found"),
        ("POST", "/nodes/worker-7/drain", ""): (404, "not_found"),
        ("DELETE", "/nodes/worker-7/drain", ""): (404, "not_found"),
        ("GET", "/nodes/worker-7", ""): (404, "not_found"),
    }
    for (method, path, target), expected in refused.items():
        status, problem = await operate(running, method, path, {"node": target} if target else None)
        assert (status, problem["code"]) == expected, (method, path)
    # The token of a room's admin is not that of an operator.
    headers = {"Authorization": f"Bearer {await token('call', 'ada', '--admin', *OPERATOR)}"}
    for path in ("/rooms/call/move", f"/nodes/{node}/drain"):
        async with running.http.post(f"{running.url}/api/v1{path}", headers=headers, json={}) as response:
            assert response.status == 403
    assert await command(running, "drain", "worker-7") == 2
    assert "There is no such node in this cluster." in capsys.readouterr().err
    assert not ada.closed.is_set()


async def test_clients_of_a_landing_node_that_stops_resume_at_once(running: Workers) -> None:
    await running.join("call", "ada", "--create")
    home = int((await home_of(running))[-1])
    bob = await running.join_by(3 - home, "call", "bob")
    os.kill(running.pid(3 - home), signal.SIGTERM)
    await asyncio.wait_for(bob.closed.wait(), 8)
    assert bob.close_code == 1012
    state = await resumed(running, bob)
    assert (state["participant"]["id"], state["resumed"]) == (bob.state["participant"]["id"], True)


async def resumed(running: Workers, client: Client) -> dict[str, Any]:
    """The response to a resume, which the kernel may send to the worker that stops, as long as that one listens."""
    async with asyncio.timeout(10):
        while True:
            back = Client(running.http, running.url, client._token)
            try:
                state = await back.join(resume=client.state["resume_key"])
            except aiohttp.ClientError:
                await asyncio.sleep(0.05)
                continue
            running.clients.append(back)
            return state


async def operate(running: Workers, method: str, path: str, json: object = None) -> tuple[int, dict[str, object]]:
    headers = {"Authorization": f"Bearer {await token('', 'operator', *OPERATOR)}", "Connection": "close"}
    async with running.http.request(method, f"{running.url}/api/v1{path}", headers=headers, json=json) as response:
        return response.status, await response.json()
