"""Two nodes in two processes: media on real UDP ports, messages in signed HTTP requests."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from sfu.cluster.node_auth import NodeAuthentication
from sfu.cluster.node_client import RELAY_PATH
from sfu.errors import AtCapacity
from sfu.transport import relay, relay_messages, relay_path
from tests.support.relay_process import TRACK, http_node
from tests.support.relays import SECRET, Watcher, until

STRANGER = "a secret of another cluster, also long"


@asynccontextmanager
async def camera_process(name: str, directory: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.support.relay_process", name, str(directory),
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        assert await process.stdout.readline() == b"ready\n"
        yield process
    finally:
        process.stdin.close()
        await process.wait()


async def test_a_track_of_another_process_survives_its_kill(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay_path, "LOST_AFTER", 0.5)
    async with http_node("edge", tmp_path) as edge:
        watcher, ended = Watcher(edge), list[str]()
        async with camera_process("home", tmp_path) as process:
            video = await edge.relay.subscribe("home", TRACK, ended.append)
            watcher.watch(TRACK, video)
            await until(lambda: len(watcher.packets) > 20, watcher)
            process.send_signal(signal.SIGKILL)
        async with camera_process("home", tmp_path):
            count = len(watcher.packets)
            await until(lambda: len(watcher.packets) > count + 20, watcher)
        assert ended == []
        watcher.close()


async def test_a_node_of_another_cluster_gets_neither_track_nor_session(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay, "SUBSCRIBE_TIMEOUT", 0.3)
    async with http_node("home", tmp_path) as home, http_node("stranger", tmp_path, STRANGER) as stranger:
        with pytest.raises(AtCapacity):
            await stranger.relay.subscribe("home", TRACK, lambda track: None)
        assert not [peer for peer in home.webrtc_server.engine.peers.values() if peer.trusted]


async def test_messages_are_accepted_once_and_only_if_they_are_signed_and_well_formed(tmp_path: Path) -> None:
    async with (
        http_node("home", tmp_path),
        aiohttp.ClientSession("http://node", connector=aiohttp.UnixConnector(str(tmp_path / "home.sock"))) as http,
    ):
        nodes = NodeAuthentication([SECRET], "edge")
        hello = relay_messages.encode(relay_messages.Hello(bytes(32), bytes(8), ()))

        async def post(body: bytes, headers: dict[str, str]) -> int:
            async with http.post(RELAY_PATH, data=body, headers=headers) as response:
                return response.status

        def signed(body: bytes) -> dict[str, str]:
            return nodes.sign("POST", RELAY_PATH, to="home", body=body)

        assert await post(hello, {}) == 403
        headers = signed(hello)
        assert await post(hello, headers) == 403  # a secret that this node does not have
        assert await post(hello, headers) == 403  # replayed
        assert await post(hello[:-1] + b"\xc0", signed(hello)) == 403  # altered
        for malformed in (b"", b"\xc1", hello[:-5], relay_messages.encode([1, 2]), b"x" * 300_000):
            assert await post(malformed, signed(malformed)) == 400
        batch = relay_messages.encode(relay_messages.Batch(bytes(8), 1, ()))
        assert await post(batch, signed(batch)) == 200
