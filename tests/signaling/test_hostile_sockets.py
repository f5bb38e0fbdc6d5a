"""The signalling socket over TCP against clients that violate RFC 6455 or flood it."""

import asyncio
import contextlib
import json
import logging
import socket
import struct

import pytest

from sfu.signaling.messages import MESSAGE_LIMIT_BYTES
from tests.signaling.test_frames import frame
from tests.signaling.test_websocket import TOKEN, HttpClient, Site, join, until
from tests.support.cpu import attempts
from tests.support.loop_cost import measured

MOST = 0.002
"""Seconds of CPU time that one callback of the loop may take."""
JOIN = frame(json.dumps({"type": "join", "id": 1, "token": f"{TOKEN}-mallory"}).encode())


def handshake(client: HttpClient, **headers: str) -> bytes:
    url = client.make_url("/ws")
    fields = {
        "Host": f"{url.host}:{url.port}",
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
    } | {name.replace("_", "-"): value for name, value in headers.items()}
    return "\r\n".join(("GET /ws HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items()), "", "")).encode()


def has_close(received: bytes) -> bool:
    """Whether a whole close frame is among these frames of the server."""
    at = 0
    while len(received) >= at + 4:
        length, header = received[at + 1], 2
        if length == 126:
            length, header = int.from_bytes(received[at + 2 : at + 4], "big"), 4
        if received[at] == 0x88:
            return len(received) >= at + header + length
        at += header + length
    return False


def exchange(client: HttpClient, opening: bytes, data: bytes, *, leave: bool = True) -> bytes:
    """All that the server sends until it closes, which it must do within 5 s. Blocking; for a thread.

    The client sends no more after the server's close frame; the server waits for that no longer than `close_deadline`.
    Without `leave`, the client keeps its side open.
    """
    url = client.make_url("/ws")
    received = b""
    with socket.create_connection((url.host, url.port), timeout=5) as sock:
        sock.sendall(opening)
        while b"\r\n\r\n" not in received:
            received += sock.recv(65_536)
        sock.sendall(data)
        left = not leave
        while chunk := sock.recv(65_536):
            received += chunk
            if not left and has_close(received.partition(b"\r\n\r\n")[2]):
                left = True
                with contextlib.suppress(OSError):  # the server has closed the connection
                    sock.shutdown(socket.SHUT_WR)
    assert received.startswith(b"HTTP/1.1 101"), received[:100]
    return received.partition(b"\r\n\r\n")[2]


def closing(received: bytes) -> tuple[int, str]:
    """Code and reason of the close frame at the end."""
    at = received.rindex(b"\x88")
    payload = received[at + 2 : at + 2 + received[at + 1]]
    assert at + 2 + len(payload) == len(received)
    return int.from_bytes(payload[:2], "big"), payload[2:].decode()


@pytest.mark.parametrize("joined", [False, True], ids=["before joining", "after joining"])
@pytest.mark.parametrize(
    "flood",
    [
        frame(b"", 9) * 40_000,
        frame(b"", 10) * 40_000,
        frame(b"x" * 125, 9) * 8_000,
        frame(b"", final=False) + frame(b"", 0, final=False) * 40_000,
        frame(b"x", final=False) + frame(b"x", 0, final=False) * 40_000,
    ],
    ids=["pings", "pongs", "long pings", "empty fragments", "small fragments"],
)
async def test_a_flood_of_small_frames_in_one_write(flood: bytes, joined: bool) -> None:
    for attempt in attempts():
        site = Site()
        async with site.running() as client:
            with measured() as cost:
                received = await asyncio.to_thread(
                    exchange, client, handshake(client), (JOIN if joined else b"") + flood
                )
            code, reason = closing(received)
            assert (code, "too many control frames" in reason) == (1008, True)
            attempt.spent(cost.longest, MOST, cost)
            assert site.signaling.statistics().counters.violations == 1
            ada, _ = await join(client, "ada")
            await ada.close()


@pytest.mark.parametrize(
    "each", [frame(b""), frame(b'{"type":"pong","at":1}'), frame(b"{}"), frame(b'{"type":"chat","id":2,"text":"x"}')]
)
async def test_a_flood_of_messages_in_one_write(each: bytes) -> None:
    for attempt in attempts():
        site = Site()
        async with site.running() as client:
            with measured() as cost:
                received = await asyncio.to_thread(exchange, client, handshake(client), JOIN + each * 9_000)
            assert closing(received)[0] == 1008
            attempt.spent(cost.longest, MOST, cost)


async def test_a_flood_that_comes_with_the_handshake() -> None:
    for attempt in attempts():
        async with Site().running() as client:
            with measured() as cost:
                received = await asyncio.to_thread(exchange, client, handshake(client) + frame(b"", 9) * 40_000, b"")
            assert closing(received)[0] == 1008
            attempt.spent(cost.longest, MOST, cost)


async def test_a_client_that_goes_on_sending_after_it_was_closed() -> None:
    def send(client: HttpClient) -> int:
        url = client.make_url("/ws")
        sent = 0
        with socket.create_connection((url.host, url.port), timeout=5) as sock:
            sock.sendall(handshake(client) + frame(b"", 9) * 100)
            with contextlib.suppress(ConnectionError):
                while sent < 400_000_000:
                    sent += sock.send(frame(b"", 9) * 10_000)
        return sent

    for attempt in attempts():
        async with Site().running() as client:
            with measured() as cost:
                assert await asyncio.to_thread(send, client) < 100_000_000
            attempt.spent(cost.longest, MOST, cost)


async def test_pings_are_answered() -> None:
    async with Site().running() as client:
        sent = b"".join(frame(bytes((number,)) * number, 9) for number in range(40)) + frame(b"\x03\xe8", 8)
        received = await asyncio.to_thread(exchange, client, handshake(client), sent)
        answers = b"".join(bytes((0x8A, number)) + bytes((number,)) * number for number in range(40))
        assert received == answers + b"\x88\x02\x03\xe8"


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (frame(b"{}", mask=False), 1002),
        (frame(b"{}", reserved=0x40), 1002),
        (frame(b"{}", 3), 1002),
        (frame(b"", 9, final=False), 1002),
        (frame(b"x" * 126, 9), 1002),
        (frame(b"x", 0), 1002),
        (frame(b"\xff\xfe"), 1007),
        (frame(b"\x03\xec", 8), 1002),
        (frame(b"\x01", 8), 1002),
        (frame(b"\x03\xe8\xff", 8), 1007),
        (frame(b"x" * (MESSAGE_LIMIT_BYTES + 1)), 1009),
    ],
)
@pytest.mark.parametrize("joined", [False, True], ids=["before joining", "after joining"])
async def test_violations(sent: bytes, code: int, joined: bool) -> None:
    site = Site()
    async with site.running() as client:
        received = await asyncio.to_thread(exchange, client, handshake(client), (JOIN if joined else b"") + sent)
        found, reason = closing(received)
        assert found == code
        assert reason
        assert site.signaling.statistics().counters.violations == 1


async def test_the_server_closes_although_the_client_does_not() -> None:
    async with Site().running() as client:
        received = await asyncio.to_thread(exchange, client, handshake(client), frame(b"x", 0), leave=False)
        assert closing(received)[0] == 1002


@pytest.mark.parametrize("payload", [b"", b"\x03\xe8", b"\x0f\xa0over"])
async def test_a_close_is_answered_with_its_code(payload: bytes) -> None:
    async with Site().running() as client:
        received = await asyncio.to_thread(exchange, client, handshake(client), frame(payload, 8))
        assert received == b"\x88" + bytes((len(payload[:2]),)) + payload[:2]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Sec_WebSocket_Version": "8"}, b" 426 "),
        ({"Sec_WebSocket_Key": "short"}, b" 400 "),
        ({"Upgrade": "h2c"}, b" 400 "),
        ({"Connection": "keep-alive"}, b" 400 "),
    ],
)
async def test_requests_that_are_no_handshake(headers: dict[str, str], status: bytes) -> None:
    site = Site()
    async with site.running() as client:
        url = client.make_url("/ws")
        reader, writer = await asyncio.open_connection(url.host, url.port)
        writer.write(handshake(client, **headers))
        async with asyncio.timeout(5):
            assert status in await reader.readline()
        writer.close()
        assert site.signaling.statistics().sockets == 0


async def test_compression_is_not_negotiated() -> None:
    """A compressed frame may inflate a thousandfold."""
    async with Site().running() as client:
        opening = handshake(client, Sec_WebSocket_Extensions="permessage-deflate; client_max_window_bits")
        url = client.make_url("/ws")
        reader, writer = await asyncio.open_connection(url.host, url.port)
        writer.write(opening)
        async with asyncio.timeout(5):
            assert b"permessage-deflate" not in await reader.readuntil(b"\r\n\r\n")
        writer.close()


@pytest.mark.parametrize(
    "sent",
    [b"", frame(b"", 9) * 20, frame(b"", 9) * 40_000, JOIN + frame(b"", 9) * 20, JOIN, frame(b"abc")[:5], JOIN[:40]],
    ids=["nothing", "pings", "a flood", "pings after the join", "join", "half a frame", "half a join"],
)
async def test_a_reset_is_not_an_error(sent: bytes, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    site = Site()
    async with site.running() as client:
        url = client.make_url("/ws")
        with socket.create_connection((url.host, url.port)) as sock:
            sock.sendall(handshake(client))
            sock.setblocking(False)
            loop = asyncio.get_running_loop()
            await loop.sock_recv(sock, 4096)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            with contextlib.suppress(ConnectionError):
                await loop.sock_sendall(sock, sent)
        await until(lambda: site.signaling.statistics().sockets == 0)
        ada, _ = await join(client, "ada")
        await ada.close()
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING or record.exc_info]


async def test_a_message_that_arrives_in_single_bytes() -> None:
    async with Site().running() as client:
        url = client.make_url("/ws")
        reader, writer = await asyncio.open_connection(url.host, url.port)
        writer.write(handshake(client))
        await reader.readuntil(b"\r\n\r\n")
        for at in range(len(JOIN)):
            writer.write(JOIN[at : at + 1])
            await asyncio.sleep(0)
        async with asyncio.timeout(5):
            assert b'"joined"' in await reader.readuntil(b'"joined"')
        writer.close()


async def test_large_messages_do_not_stop_reading() -> None:
    """More than is stored at once: the transport pauses and resumes."""
    site = Site(message_rate=1e6, message_burst=1_000_000)
    async with site.running() as client:
        socket_, _ = await join(client, "ada")
        for number in range(2, 40):
            await socket_.send_json({"type": "data", "id": number, "payload": "x" * 30_000})
        answered: set[int] = set()
        async with asyncio.timeout(10):
            while len(answered) < 38:
                sent = json.loads((await socket_.receive()).data)
                answered |= {one["id"] for one in (sent if isinstance(sent, list) else [sent]) if one["type"] == "ok"}
        assert answered == set(range(2, 40))
        await socket_.close()
