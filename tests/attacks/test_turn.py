"""A relay as the chart sets it up (coturn) beside a running server: it relays to the server's media port only, and only with
unexpired credentials that the server issued to a participant.
"""

import asyncio
import re
import secrets
import shutil
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from aioice import stun, turn

from sfu.auth.turn import credentials
from tests.attacks.field import Field
from tests.helm.chart import find, objects
from tests.support import impaired
from tests.support.peer import binding_request

pytestmark = [
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.skipif(shutil.which("turnserver") is None, reason="coturn is not installed"),
    pytest.mark.skipif(bool(impaired.possible()), reason=impaired.possible() or "-"),
]
HOST, INSIDE = "10.77.0.1", "10.77.0.9"
"""The machine's address, and one more of its network."""
SECRET = secrets.token_hex(16)
PORT = 3478
PEERS = ("127.0.0.1", "127.0.0.53", "0.0.0.0", "10.0.0.1", INSIDE, "172.16.0.1", "192.168.0.1", "100.64.0.1",
         "169.254.169.254", "198.51.100.7", "224.0.0.251", "255.255.255.255")  # fmt: skip
"""Loopback, private, link-local, a cloud's metadata, a stranger's, multicast."""


class Heard(asyncio.DatagramProtocol):
    def __init__(self) -> None:
        self.said: asyncio.Queue[tuple[bytes, Any]] = asyncio.Queue(16)

    def datagram_received(self, data: bytes, address: Any) -> None:
        self.said.put_nowait((data, address))


@dataclass
class Place:
    field: Field
    log: Path


@pytest.fixture(scope="module")
def namespace() -> Iterator[None]:
    with impaired.own_namespace():
        yield


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def place(namespace: None, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Place]:
    folder = tmp_path_factory.mktemp("turn")
    for address in (HOST, INSIDE):
        await impaired._ip("addr", "add", f"{address}/24", "dev", "lo")
    given = {
        "coturn": {"enabled": True, "realm": "turn.example.org"},
        "media": {"announce": [HOST]},
        "secrets": {"turn": SECRET},
    }
    spec = find(objects(given), "Deployment", "sfu-aiosfu-turn")["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    words = [word.replace("$(TURN_SECRET)", SECRET) for word in container["args"] if not word.startswith("--pidfile")]
    log = folder / "log"
    with log.open("wb") as output:
        relay = await asyncio.create_subprocess_exec(
            *container["command"], *words, f"--pidfile={folder / 'pid'}", f"--userdb={folder / 'db'}",
            f"--listening-ip={HOST}", f"--relay-ip={HOST}", stdin=asyncio.subprocess.DEVNULL, stdout=output, stderr=output,
        )  # fmt: skip
    settings = (f"turn.urls=[turn:{HOST}:{PORT}]", f"turn.secret={SECRET}")
    field = Field(*(word for setting in settings for word in ("--set", setting)), announce=HOST)
    try:
        await field.open()
        async with asyncio.timeout(10):
            while True:
                with suppress(OSError):
                    _, writer = await asyncio.open_connection(HOST, PORT)
                    writer.close()
                    break
                await asyncio.sleep(0.1)
        yield Place(field, log)
        await field.close()
    finally:
        relay.terminate()
        await relay.wait()


async def told(field: Field, http: aiohttp.ClientSession) -> tuple[str, str]:
    """ICE servers that a participant gets when it joins."""
    client = field.attacker(http, f"somebody{secrets.token_hex(3)}")
    joined = await client.join(auto_subscribe=False)
    (found,) = joined["ice_servers"]
    await field.leave(client)
    assert found["urls"] == [f"turn:{HOST}:{PORT}"]
    return found["username"], found["credential"]


@asynccontextmanager
async def allocated(username: str, password: str) -> AsyncIterator[tuple[Any, Heard]]:
    transport, heard = await turn.create_turn_endpoint(
        Heard, server_addr=(HOST, PORT), username=username, password=password, transport="udp"
    )
    inner = transport._TurnTransport__inner_protocol  # type: ignore[attr-defined]  # a private attribute of aioice
    try:
        yield inner, heard
    finally:
        await inner.delete()


async def refusal(doing: Any) -> int:
    """The error's number (RFC 8656); 0: it was done."""
    try:
        await doing
    except stun.TransactionFailed as error:
        return int(error.response.attributes["ERROR-CODE"][0])
    return 0


async def test_nothing_but_the_media_port_is_relayed_to(place: Place, http: aiohttp.ClientSession) -> None:
    loop = asyncio.get_running_loop()
    overheard, trap = await loop.create_datagram_endpoint(Heard, local_addr=(INSIDE, 0))
    port = overheard.get_extra_info("sockname")[1]

    async def attack() -> None:
        async with allocated(*await told(place.field, http)) as (inner, heard):
            for number, address in enumerate(PEERS):
                assert await refusal(inner.channel_bind(0x4000 + number, (address, port))) == 403, address
                permit = stun.Message(stun.Method.CREATE_PERMISSION, stun.Class.REQUEST)
                permit.attributes["XOR-PEER-ADDRESS"] = (address, port)
                assert await refusal(inner.request_with_retry(permit)) == 403, address
                inner._send(bytes(send(address, port)))
            # Its purpose: a check reaches the media port, which does not know the user fragment and does not answer.
            before = place.field.metrics().get("sfu_packets_dropped_total:stun_unknown_user", 0)
            assert await refusal(inner.channel_bind(0x4FF0, (HOST, place.field.udp_port))) == 0
            check = binding_request("nobody:me", "x" * 24)
            inner._send(b"\x4f\xf0" + len(check).to_bytes(2, "big") + check)
            async with asyncio.timeout(5):
                while place.field.metrics().get("sfu_packets_dropped_total:stun_unknown_user", 0) == before:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
            assert heard.said.empty()

    try:
        counted = ("sfu_packets_dropped_total:stun_unknown_user",)
        await place.field.withstands(attack, counted=counted, lines=20)
        assert trap.said.empty(), "an internal address received a packet"
    finally:
        overheard.close()
    assert "denied in the range" in place.log.read_text(), "the relay says it"


def send(address: str, port: int) -> stun.Message:
    """An indication without any permission (RFC 8656 11.2)."""
    found = stun.Message(stun.Method.SEND, stun.Class.INDICATION)
    found.attributes["XOR-PEER-ADDRESS"] = (address, port)
    found.attributes["DATA"] = b"GET / HTTP/1.0\r\n\r\n"
    return found


async def test_credentials_are_for_ten_minutes_and_of_the_servers_making(
    place: Place, http: aiohttp.ClientSession
) -> None:
    username, password = await told(place.field, http)
    expires_at, _, name = username.partition(":")
    assert 590 <= int(expires_at) - time.time() <= 600
    assert re.fullmatch("[0-9a-f]{16}", name), "says nothing of who it is"
    other, _ = await told(place.field, http)
    assert other != username

    async def status(name: str, word: str) -> int:
        async def allocate() -> None:
            async with allocated(name, word):
                pass

        return await refusal(allocate())

    old = credentials(SECRET, "old", time.time() - 660, 600)  # coturn reads its clock now and then
    forged = credentials("a secret that it is not", "me", time.time(), 600)
    later = f"{int(expires_at) + 86_400}:{name}"
    assert await status(username, password) == 0
    assert await status(old.username, old.password) == 401
    assert await status(forged.username, forged.password) == 401
    assert await status(later, password) == 401, "its end is signed"
    assert await status("", "") == 401


async def test_one_persons_allocations_are_few(place: Place, http: aiohttp.ClientSession) -> None:
    given = await told(place.field, http)
    held = []
    try:
        for _ in range(8):
            context = allocated(*given)
            await context.__aenter__()
            held.append(context)
        assert await refusal(allocated(*given).__aenter__()) == 486
        async with allocated(*await told(place.field, http)):
            pass  # others have theirs
    finally:
        for context in held:
            await context.__aexit__(None, None, None)
