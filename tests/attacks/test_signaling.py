"""Attacks over HTTP and the signalling socket: hostile SDP, floods, slow requests, foreign pages, old keys."""

import asyncio
import json
import re
import signal
import socket
from collections.abc import Callable

import aiohttp
import pytest

from tests.attacks.field import SECRET, Field

pytestmark = pytest.mark.asyncio(loop_scope="session")

REFUSED = "sfu_signaling_refused_total:request"
UNREADABLE = "sfu_signaling_refused_total:unreadable"
TRACKS = [{"mid": "0", "source": "microphone"}, {"mid": "1", "source": "camera"}]


def large(sdp: str) -> str:
    lines = [f"a=rtpmap:{number % 128} VP8/90000\r\na=rtcp-fb:* nack\r\n" for number in range(2000)]
    return sdp + "".join(lines)


DESCRIPTIONS: dict[str, Callable[[str], str]] = {
    "82 KB of rtpmap and rtcp-fb": large,
    "just below the limit": lambda sdp: large(sdp)[:32_000],
    "a thousand m-lines": lambda sdp: sdp + "m=audio 9 UDP/TLS/RTP/SAVPF 0\r\n" * 1000,
    "nothing": lambda sdp: "",
    "no description": lambda sdp: "v=0\r\n" + "\0\x7f\r\n" * 500,
    "an endless line": lambda sdp: sdp + "a=" + "x" * 30_000,
}


@pytest.mark.parametrize("row", DESCRIPTIONS)
async def test_hostile_descriptions(field: Field, http: aiohttp.ClientSession, row: str) -> None:
    async def attack() -> None:
        client = field.attacker(http, "describer")
        await client.join(auto_subscribe=False)
        sdp = DESCRIPTIONS[row](client.publishing.offer())
        for _ in range(10):
            try:
                asked = asyncio.create_task(client.request("publish", sdp=sdp, tracks=TRACKS))
                gone = asyncio.create_task(client.closed.wait())
                await asyncio.wait((asked, gone), return_when=asyncio.FIRST_COMPLETED)
                gone.cancel()
                if not asked.done():
                    asked.cancel()
                    break
                reply = asked.result()
            except (TimeoutError, ConnectionError, aiohttp.ClientError):
                break  # the frame itself was too large, and the socket is closed
            assert reply["type"] in ("error", "answer")
        await field.leave(client)

    grown = await field.withstands(attack, lines=30)
    assert grown[REFUSED] or grown[UNREADABLE] or row in ("82 KB of rtpmap and rtcp-fb", "an endless line")


async def test_a_flood_of_messages_ends_the_flooders_session(field: Field, http: aiohttp.ClientSession) -> None:
    async def attack() -> None:
        client = field.attacker(http, "flooder")
        await client.join(auto_subscribe=False)
        for number in range(3000):
            try:
                await client._socket.send_str(json.dumps({"type": "chat", "id": number, "text": "spam"}))
            except (ConnectionError, aiohttp.ClientError):
                break
        await asyncio.wait_for(client.closed.wait(), 5)
        await client.close()

    await field.withstands(attack, counted=("sfu_signaling_rate_limited_total",))


async def test_messages_that_are_none(field: Field, http: aiohttp.ClientSession) -> None:
    async def attack() -> None:
        client = field.attacker(http, "mumbler")
        await client.join(auto_subscribe=False)
        for text in ("", "[]", "{" * 5000, '{"type":"nothing"}', '{"type":"chat","text":7}', "[" * 20_000):
            await client._socket.send_str(text)
        await asyncio.sleep(0.1)
        await field.leave(client)

    await field.withstands(attack, counted=(UNREADABLE,))


async def test_slow_heads_are_cut_off(field: Field) -> None:
    async def attack() -> None:
        opened = []
        for _ in range(200):
            reader, writer = await asyncio.open_connection("127.0.0.1", field.port)
            writer.write(b"GET / HTTP/1.1\r\nX: ")
            opened.append((reader, writer))
        for reader, writer in opened:
            assert await asyncio.wait_for(reader.read(), 10) == b""
            writer.close()

    descriptors = field.descriptors()
    await field.withstands(attack, lines=1)
    assert field.descriptors() <= descriptors + 3


async def test_sockets_that_never_join_are_capped(field: Field, http: aiohttp.ClientSession) -> None:
    async def attack() -> None:
        answers = await asyncio.gather(
            *(http.ws_connect(f"{field.url}/ws", protocols=("sfu",)) for _ in range(80)), return_exceptions=True
        )
        refused = [one for one in answers if isinstance(one, aiohttp.WSServerHandshakeError) and one.status == 429]
        assert len(refused) >= 40
        for opened in answers:
            if isinstance(opened, aiohttp.ClientWebSocketResponse):
                await opened.close()

    await field.withstands(attack, lines=100)


async def test_foreign_pages_open_nothing(field: Field, http: aiohttp.ClientSession) -> None:
    with pytest.raises(aiohttp.WSServerHandshakeError) as refusal:
        await http.ws_connect(f"{field.url}/ws", headers={"Origin": "https://evil.example"})
    assert refusal.value.status == 403


async def test_a_room_that_is_foreign_and_one_that_is_not_are_answered_alike(
    field: Field, http: aiohttp.ClientSession
) -> None:
    headers = {"Authorization": f"Bearer {field.token('spy', 'other', roomAdmin=True)}"}
    answers = []
    for room in ("field", "no-such-room"):
        async with http.get(f"{field.url}/api/v1/rooms/{room}", headers=headers) as answer:
            answers.append((answer.status, await answer.text()))
    assert answers[0] == answers[1]


async def test_two_keys_during_a_rotation_and_then_only_the_new_one(field: Field, http: aiohttp.ClientSession) -> None:
    new = "another secret of thirty-two bytes or more"

    async def status(token: str) -> str:
        client = field.attacker(http)
        client._token = token
        reply = await client.join(auto_subscribe=False)
        await field.leave(client)
        return str(reply.get("code") or reply["type"])

    async def reread(text: str) -> None:
        said = len(field.records())
        field.keys.write_text(text)
        field.server.send_signal(signal.SIGHUP)
        while not any("keys" in record for record in field.records()[said:]):  # noqa: ASYNC110
            await asyncio.sleep(0.01)

    old_token, new_token = field.token("rotator"), field.token("rotator", secret=new, key="new")
    old_line = f"attacks: {SECRET}\n"
    assert (await status(old_token), await status(new_token)) == ("joined", "token_invalid")
    await reread(old_line + f"new: {new}\n")
    assert (await status(old_token), await status(new_token)) == ("joined", "joined")
    await reread(f"new: {new}\n")
    assert (await status(old_token), await status(new_token)) == ("token_invalid", "joined")
    await reread("new: short\n")
    assert await status(new_token) == "joined", "a mistake in the file changes nothing"
    await reread(old_line)


async def test_a_kicked_participant_does_not_come_back(field: Field, http: aiohttp.ClientSession) -> None:
    client = field.attacker(http, "kicked", room="kicks")
    await client.join()
    headers = {"Authorization": f"Bearer {field.token('admin', 'kicks', roomAdmin=True)}"}
    async with http.delete(f"{field.url}/api/v1/rooms/kicks/participants/kicked", headers=headers) as answer:
        assert answer.status in (200, 204)
    await asyncio.wait_for(client.closed.wait(), 5)
    await client.close()
    again = field.attacker(http, "kicked", room="kicks")
    again._token = client._token
    assert (await again.join())["code"] == "token_revoked"
    await again.close()


async def test_nothing_private_is_left_behind(field: Field, http: aiohttp.ClientSession) -> None:
    """A whole meeting with unique words; the test then searches all readable output for them."""
    room, identity, name = "private-room-zq1", "private-identity-zq2", "private-name-zq3"
    token = field.token(identity, room, roomAdmin=True)
    client, other = field.attacker(http), field.attacker(http, "private-other-zq4", room=room)
    client._token = token
    joined = await client.join(name=name)
    await client.publish()
    await other.join()
    await client.request("chat", text="private-chat-zq5")
    await client.request("data", topic="private-topic-zq6", payload="private-payload-zq7")
    await client.request("metadata", name=name, metadata="private-metadata-zq8")
    await client.request("publish", sdp="private-sdp-zq9", tracks=TRACKS)
    await client.request("private-kind-zq10", text="private-text-zq11")
    for path in (f"/r/{room}?token={token}", f"/api/v1/rooms/{room}?token={token}", f"/ws?token={token}"):
        async with http.get(field.url + path, headers={"Authorization": f"Bearer {token}"}) as answer:
            page = await answer.text() if not path.startswith("/api") else ""
            assert "-zq" not in page
    pwd, ufrag = client.publishing.remote_pwd, client.publishing.remote_ufrag
    await field.leave(client, other)
    async with http.get(f"{field.url}/metrics") as answer:
        metrics = await answer.text()
    left = field.log.read_text() + metrics
    async with http.get(f"{field.url}/api/v1/rooms") as answer:
        assert answer.status == 401
        left += await answer.text()
    secrets = [
        token,
        token.rpartition(".")[2],
        joined["resume_key"],
        pwd,
        ufrag,
        client.publishing.identity.fingerprint,
        SECRET,
    ]
    found = re.findall(r"private-\w+-zq\d+", left) + [secret for secret in secrets if secret in left]
    assert not found


def flood(port: int, token: str) -> bytes:
    """40,000 empty pings in one write, after the join if there is a token. Blocking; for a thread. What comes back."""
    received = b""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as sock:
        sock.sendall(
            b"GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        )
        join = json.dumps({"type": "join", "id": 1, "token": token}).encode()
        masked = b"\x81\xfe" + len(join).to_bytes(2, "big") + bytes(4) + join if token else b""
        try:
            sock.sendall(masked + b"\x89\x80\0\0\0\0" * 40_000)
            while chunk := sock.recv(65_536):
                received += chunk
        except ConnectionError:
            pass  # closed while pings were unread
    return received


@pytest.mark.parametrize("joined", [False, True])
async def test_a_flood_of_pings_in_one_write(field: Field, joined: bool) -> None:
    async def attack() -> None:
        answers = await asyncio.gather(
            *(asyncio.to_thread(flood, field.port, field.token(f"pinger-{n}") if joined else "") for n in range(5))
        )
        for answer in answers:
            assert b"too many control frames" in answer

    await field.withstands(attack, counted=("sfu_signaling_refused_total:protocol",))


async def test_a_crowd_at_the_metrics(field: Field) -> None:
    async def attack() -> None:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as crowd:

            async def scrape() -> int:
                async with crowd.get(f"{field.url}/metrics") as answer:
                    await answer.read()
                    return answer.status

            assert set(await asyncio.gather(*(scrape() for _ in range(300)))) == {200}

    await field.withstands(attack)
