"""sfu.cluster.node_client: signed requests and WebSockets to another node, over TCP and Unix sockets."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import WSMsgType, web

from sfu.cluster import node_client
from sfu.cluster.node_auth import CLIENT_HEADER, NodeAuthentication
from sfu.cluster.node_client import ANNOUNCE_PATH, NodeClient
from sfu.cluster.peers import PeerAnswer, decode_node
from sfu.cluster.ports import NodeInfo, Unavailable
from sfu.errors import NotAuthorized
from tests.support.ports import free_port

SECRET = "s" * 32
US = NodeInfo(id="a", instance="a1", url="http://127.0.0.1:1")


class Peer:
    """Another node: verifies the requests and answers with `status`."""

    def __init__(self) -> None:
        self.node = NodeInfo(id="b", instance="b1", url="")
        self.status = 200
        self.requests: list[tuple[str, str, bytes]] = []
        self.clients: list[str] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self._authentication = NodeAuthentication([SECRET], "b")

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        try:
            assert self._authentication.verify(request.method, request.path_qs, request.headers, body) == "a"
        except NotAuthorized:
            return web.Response(status=401)
        self.requests.append((request.method, request.path_qs, body))
        self.clients.append(request.headers.get(CLIENT_HEADER, ""))
        await self.gate.wait()
        if request.path == "/ws":
            socket = web.WebSocketResponse(protocols=("sfu",))
            await socket.prepare(request)
            async for message in socket:
                await socket.send_str(message.data)
            return socket
        if self.status == 302:
            raise web.HTTPFound("/elsewhere")
        return web.Response(status=self.status, body=b"answer", headers={"Set-Cookie": "session=1"})


@asynccontextmanager
async def serving(peer: Peer, path: Path | None = None) -> AsyncIterator[Peer]:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", peer.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    try:
        if path is not None:
            await web.UnixSite(runner, str(path)).start()
            url = f"unix:{path}"
        else:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        peer.node = NodeInfo(id="b", instance="b1", url=url)
        yield peer
    finally:
        await runner.cleanup()


@pytest.fixture
async def client() -> AsyncIterator[NodeClient]:
    one = NodeClient(NodeAuthentication([SECRET], "a"))
    yield one
    await one.close()


@pytest.fixture(params=["tcp", "unix"])
async def peer(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Peer]:
    async with serving(Peer(), tmp_path / "node.sock" if request.param == "unix" else None) as one:
        yield one


async def test_a_request_is_signed_for_its_receiver(client: NodeClient, peer: Peer) -> None:
    target = "/api/v1/rooms/caf%C3%A9?x=1%2F2"
    headers = {"X-Field": "value"}
    async with await client.request(
        peer.node, "POST", target, headers=headers, client="203.0.113.5", data=b"{}"
    ) as answer:
        assert (answer.status, await answer.read()) == (200, b"answer")
    assert peer.requests == [("POST", target, b"{}")]
    assert peer.clients == ["203.0.113.5"]


async def test_another_cluster_is_refused(peer: Peer) -> None:
    stranger = NodeClient(NodeAuthentication(["f" * 32], "a"))
    async with await stranger.request(peer.node, "GET", "/", headers={}, client="") as answer:
        assert answer.status == 401
    await stranger.close()
    assert peer.requests == []


async def test_redirects_are_passed_on_and_cookies_are_not_kept(client: NodeClient, peer: Peer) -> None:
    peer.status = 302
    for _ in range(2):
        async with await client.request(peer.node, "GET", "/", headers={}, client="") as answer:
            assert (answer.status, answer.headers["Location"]) == (302, "/elsewhere")
            assert "Cookie" not in answer.request_info.headers
    assert len(peer.requests) == 2


async def test_a_websocket(client: NodeClient, peer: Peer) -> None:
    socket = await client.connect(peer.node, "/ws", ["sfu"], "203.0.113.5")
    await socket.send_str("hello")
    message = await socket.receive(20)
    assert (socket.protocol, message.type, message.data) == ("sfu", WSMsgType.TEXT, "hello")
    assert peer.clients == ["203.0.113.5"]
    await socket.close()


async def test_a_node_that_is_gone(client: NodeClient) -> None:
    gone = NodeInfo(id="b", instance="b1", url=f"http://127.0.0.1:{free_port()}")
    with pytest.raises(Unavailable):
        await client.request(gone, "GET", "/", headers={}, client="")
    with pytest.raises(Unavailable):
        await client.connect(gone, "/ws", [], "")
    assert await client.announce(gone, US) is PeerAnswer.NONE


async def test_a_websocket_that_is_refused(client: NodeClient, peer: Peer) -> None:
    with pytest.raises(Unavailable):
        await client.connect(peer.node, "/elsewhere", [], "")


async def test_a_node_that_hangs(client: NodeClient, peer: Peer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node_client, "ANNOUNCE_TIMEOUT", 0.05)
    monkeypatch.setattr(node_client, "CONNECT_TIMEOUT", 0.05)
    peer.gate.clear()
    assert await client.announce(peer.node, US) is PeerAnswer.NONE
    with pytest.raises(Unavailable):
        await client.connect(peer.node, "/ws", [], "")
    peer.gate.set()


@pytest.mark.parametrize(
    ("status", "expected"),
    [(204, PeerAnswer.RENEWED), (503, PeerAnswer.NO_DIRECTORY), (410, PeerAnswer.NONE), (500, PeerAnswer.NONE)],
)
async def test_an_announcement_through_a_peer(
    client: NodeClient, peer: Peer, status: int, expected: PeerAnswer
) -> None:
    peer.status = status
    assert await client.announce(peer.node, US) is expected
    ((method, path, body),) = peer.requests
    assert (method, path, decode_node(body)) == ("POST", ANNOUNCE_PATH, US)


async def test_connections_to_nodes_are_bounded(client: NodeClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node_client, "SESSIONS_LIMIT", 2)
    for number in range(3):
        async with serving(Peer()) as peer, await client.request(peer.node, "GET", f"/{number}", headers={}, client=""):
            pass
        assert len(client._sessions) <= 2
    await client.close()
    assert not client._closing
