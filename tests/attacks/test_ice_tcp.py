"""Strangers send to the ICE-TCP port."""

import asyncio
import contextlib
import socket
import struct
from collections.abc import Iterator

import pytest

from tests.attacks.field import Field
from tests.support.peer import binding_request

pytestmark = pytest.mark.asyncio(loop_scope="session")

DROPPED = "sfu_packets_dropped_total:"
CHECK = binding_request("nobody:me", "x" * 24)


@contextlib.contextmanager
def connections(field: Field, hosts: int, each: int) -> Iterator[list[socket.socket]]:
    with contextlib.ExitStack() as opened:
        found = []
        for host in range(hosts):
            for _ in range(each):
                sock = opened.enter_context(socket.socket())
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                sock.bind((f"127.0.9.{host + 1}", 0))
                sock.setblocking(False)
                sock.connect_ex(("127.0.0.1", field.tcp_port))
                found.append(sock)
        yield found


async def test_idle_connections(field: Field) -> None:
    """More than the server keeps, of many addresses and of one."""

    async def attack() -> None:
        limit = DROPPED + "tcp_limit"
        before = field.metrics().get(limit, 0)
        with connections(field, 32, 20), connections(field, 1, 60), contextlib.suppress(TimeoutError):
            async with asyncio.timeout(10):
                # The kernel delays connections beyond the listen backlog.
                while field.metrics().get(limit, 0) == before:  # noqa: ASYNC110  # the server has no event for it
                    await asyncio.sleep(0.1)

    await field.withstands(attack, counted=(DROPPED + "tcp_limit",), lines=0)


ROWS = {
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(300), "tcp_frame_size"),
    "HTTP": (b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", "tcp_frame_size"),
    "a frame of 65,535 bytes": (b"\xff\xff" + bytes(60_000), "tcp_frame_size"),
    "frames of 0 bytes": (bytes(60_000), "tcp_not_stun"),
    "media": (struct.pack("!H", 500) + b"\x80" * 500, "tcp_not_stun"),
    "checks of an unknown user": ((struct.pack("!H", len(CHECK)) + CHECK) * 200, "stun_unknown_user"),
}


@pytest.mark.parametrize("row", ROWS)
async def test_strangers(field: Field, row: str) -> None:
    data, reason = ROWS[row]

    async def attack() -> None:
        for _ in range(10):
            with connections(field, 2, 30) as opened:
                for sock in opened:
                    with contextlib.suppress(OSError):
                        sock.send(data)
                await asyncio.sleep(0.05)

    await field.withstands(attack, counted=(DROPPED + reason,), lines=0)


async def test_one_byte_at_a_time(field: Field) -> None:
    async def attack() -> None:
        for _ in range(4):
            with connections(field, 2, 30) as opened:
                for byte in struct.pack("!H", len(CHECK)) + CHECK[:40]:
                    for sock in opened:
                        with contextlib.suppress(OSError):
                            sock.send(bytes([byte]))
                    await asyncio.sleep(0.002)

    await field.withstands(attack, counted=(DROPPED + "tcp_not_stun",), lines=0)
