"""Strangers without a token send to the media port."""

import asyncio
import os
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from sfu.transport.dtls import DtlsAssociation, Identity
from tests.attacks.field import Field
from tests.support.peer import binding_request

pytestmark = pytest.mark.asyncio(loop_scope="session")

DROPPED = "sfu_packets_dropped_total:"
BINDING = struct.pack("!HHI", 1, 0, 0x2112A442) + bytes(12)


def wrong_attribute() -> bytes:
    return struct.pack("!HHI", 1, 8, 0x2112A442) + os.urandom(12) + struct.pack("!HHI", 0x0006, 200, 7)


def hello() -> bytes:
    dtls = DtlsAssociation(Identity(), "client", [("sha-256", "00")])
    dtls.start()
    return dtls.packets_to_send()[0]


@contextmanager
def stranger() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.setblocking(False)
        yield sock


ROWS: dict[str, tuple[Callable[[], bytes], int, str]] = {
    "datagrams of 0 bytes": (lambda: b"", 500, "short"),
    "datagrams of 1 byte": (lambda: b"\x80", 500, "short"),
    "a ClientHello of another socket": (hello, 20, "unknown_address"),
    "media of no connection": (lambda: b"\x80\x6f" + os.urandom(200), 2000, "unknown_address"),
    "STUN with an attribute of a wrong length": (wrong_attribute, 2000, "stun_malformed"),
    "bare Binding requests": (lambda: BINDING, 2000, "stun_unknown_user"),
    "checks of an unknown user": (lambda: binding_request("nobody:me", "x" * 24), 500, "stun_unknown_user"),
    "neither STUN nor DTLS nor media": (lambda: b"\xff" + os.urandom(99), 2000, "unknown_protocol"),
}


@pytest.mark.parametrize("row", ROWS)
async def test_strangers_are_dropped_and_counted_and_get_no_answer(field: Field, row: str) -> None:
    make, count, reason = ROWS[row]

    async def attack() -> None:
        with stranger() as sock:
            for number in range(count):
                sock.sendto(make(), field.media)
                if number % 50 == 49:
                    await asyncio.sleep(0.005)
            await asyncio.sleep(0.05)
            with pytest.raises(BlockingIOError):
                sock.recv(2048)

    await field.withstands(attack, counted=(DROPPED + reason,), lines=0)


async def test_a_flood_of_junk_costs_joined_people_nothing(field: Field) -> None:
    """As many as one core sends in a second; the goal is set for 50,000."""
    packets = [bytes([first]) + os.urandom(300) for first in (0, 22, 128, 200, 255)] * 10

    async def attack() -> None:
        with stranger() as sock:
            for _ in range(500):
                for packet in packets:
                    sock.sendto(packet, field.media)
                await asyncio.sleep(0.001)

    grown = await field.withstands(attack, counted=(DROPPED + "unknown_address",), lines=0)
    assert sum(value for name, value in grown.items() if name.startswith(DROPPED)) > 20_000
