"""Media that attacks its receivers, and candidates that ask the server to connect to other addresses."""

import asyncio
import os
import struct
from collections.abc import Callable
from contextlib import suppress
from itertools import count, islice

import aiohttp
import pytest
from pylibsrtp import Error as SrtpError

from tests.attacks.field import Field
from tests.support.client import MID, Client
from tests.support.wire import Rtp, rtp, vp8

pytestmark = pytest.mark.asyncio(loop_scope="session")

POISON = b"POISON-POISON-POISON"


def header(
    number: int, *, first: int = 0x90, kind: int = 96, block: bytes = b"\x40\x31\0\0", words: int | None = None
) -> bytes:
    """Of the camera's stream, with an extension block that is announced as `words` long."""
    head = struct.pack("!BBHII", first, kind, number & 0xFFFF, 3000 * number & 0xFFFFFFFF, 2)
    return head + struct.pack("!HH", 0xBEDE, len(block) // 4 if words is None else words) + block


def camera(number: int, payload: bytes, *, kind: int = 96) -> bytes:
    stamp = 3000 * number & 0xFFFFFFFF
    return rtp(payload, ssrc=2, sequence=number & 0xFFFF, timestamp=stamp, payload_type=kind, extensions={4: b"1"})


POISONS: tuple[Callable[[int], bytes], ...] = (
    lambda number: header(number, first=0xB0) + POISON + b"\xff",  # more padding than packet
    lambda number: header(number, first=0xB0) + POISON + b"\0",  # padding of nothing
    lambda number: header(number, first=0x9F) + POISON,  # contributing sources that are not there
    lambda number: header(number, words=900) + POISON,
    lambda number: header(number, block=b"\x4f\x31\0\0") + POISON,  # an extension element past its block
    lambda number: header(number, kind=33) + POISON,  # no such payload type
    lambda number: camera(number, POISON, kind=97),  # a retransmission of packets that do not exist
    lambda number: camera(number, b"\0", kind=97),
)
"""Sealed properly, so that all of it gets past SRTP. Payloads are their sender's matter: sealed end to end they look like
anything (see `tests/web/test_e2ee.py`)."""


async def test_malformed_packets_reach_no_subscriber(field: Field, http: aiohttp.ClientSession) -> None:
    mallory = field.attacker(http, "mallory", room="poison")
    victim = field.attacker(http, "victim", room="poison")
    await mallory.join(auto_subscribe=False)
    await mallory.publish()
    await victim.join()
    await victim.until(lambda: victim.subscribing.tx)
    while not victim.arrived():
        mallory.send()
        await asyncio.sleep(0.02)
    heard: list[bytes] = []
    numbers = count(1000)  # SRTP accepts no number twice, and the attack may be repeated

    async def attack() -> None:
        for number in islice(numbers, 600):
            if number % (len(POISONS) + 1) == 1:
                mallory.publishing.send(camera(number, vp8(key=True, picture=number & 0x7FFF)))
            else:
                with suppress(SrtpError):  # libsrtp refuses some of it on both sides
                    mallory.publishing.send(POISONS[number % (len(POISONS) + 1) - 1](number))
            if number % 10 == 9:
                await asyncio.sleep(0.003)
                heard.extend(victim.subscribing.media())
        await asyncio.sleep(0.2)
        heard.extend(victim.subscribing.media())

    await field.withstands(attack, counted=("sfu_packets_dropped_total:unrouted",))
    assert len(heard) >= 30, "what is sound goes on"
    for data in heard:
        assert POISON not in data
        found = Rtp.parse(data)
        assert found.payload_type in (96, 97, 111)
        assert MID in found.extensions
    await field.leave(mallory, victim)


class Trap(asyncio.DatagramProtocol):
    def __init__(self) -> None:
        self.said: list[bytes] = []

    def datagram_received(self, data: bytes, address: object) -> None:
        self.said.append(data)


async def test_addresses_that_a_client_names_are_not_knocked_at(field: Field, http: aiohttp.ClientSession) -> None:
    """Candidates in descriptions and in messages of their own: an ICE-lite server sends no checks (RFC 8445 6.1.1)."""
    loop = asyncio.get_running_loop()
    knocked: list[object] = []
    transport, trap = await loop.create_datagram_endpoint(Trap, local_addr=("127.0.0.1", 0))
    port = transport.get_extra_info("sockname")[1]

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        knocked.append(1)
        writer.close()

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    tcp = server.sockets[0].getsockname()[1]
    lines = [
        f"candidate:1 1 udp 2130706431 127.0.0.1 {port} typ host",
        f"candidate:2 1 udp 1694498815 127.0.0.1 {port} typ srflx raddr 10.0.0.1 rport 9",
        f"candidate:3 1 tcp 1518280447 127.0.0.1 {tcp} typ host tcptype passive",
        *(f"candidate:{n} 1 udp {n} 127.0.0.1 {port} typ host" for n in range(4, 40)),
        f"candidate:99 1 udp 1 {'x' * 200}.local {port} typ host",
    ]

    async def attack() -> None:
        client = Client(http, field.url, field.token(f"scanner{os.urandom(3).hex()}", "scan"))
        await client.join(auto_subscribe=False)
        sdp = client.publishing.offer() + "".join(f"a={line}\r\n" for line in lines)
        tracks = [{"mid": "0", "source": "microphone"}, {"mid": "1", "source": "camera"}]
        assert (await client.request("publish", sdp=sdp, tracks=tracks))["type"] == "answer"
        for line in lines:
            await client._socket.send_json({"type": "candidate", "candidate": line, "mid": "0"})
        await asyncio.sleep(1.0)
        await field.leave(client)

    await field.withstands(attack)
    assert not trap.said
    assert not knocked
    transport.close()
    server.close()
