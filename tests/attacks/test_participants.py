"""Attacks of a participant on the others in its room: data channels, media and RTCP."""

import asyncio
import contextlib
import os
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import count
from typing import Any

import aiohttp
import pytest
from pylibsrtp import Error as SrtpError

from sfu.rtp import rtcp
from tests.attacks.field import Field
from tests.attacks.sctp import Association, chunk, data
from tests.support.client import Client
from tests.support.peer import RawPeer, binding_request
from tests.support.wire import rtp, vp8

pytestmark = pytest.mark.asyncio(loop_scope="session")

DROPPED = "sfu_packets_dropped_total:"
NUMBER = count()


@asynccontextmanager
async def joined(field: Field, http: aiohttp.ClientSession, *, publish: bool = True) -> AsyncIterator[Client]:
    client = field.attacker(http, f"attacker{next(NUMBER)}")
    await client.join(auto_subscribe=not publish)
    if publish:
        await client.publish()
    else:
        await client.until(lambda: client.subscribing.tx)
    try:
        yield client
    finally:
        await field.leave(client)


SCTP: dict[str, tuple[Callable[[Association], list[bytes]], str]] = {
    "a parameter of length 0": (lambda a: [chunk(4, struct.pack("!HH", 1, 0))], "sctp_malformed"),
    "320 gaps": (
        lambda a: [
            chunk(3, struct.pack("!IIHH", a.peer_tsn - 1, 1 << 20, 320, 0))
            + b"".join(struct.pack("!HH", 2 * n, 2 * n) for n in range(1, 321))
        ],
        "sctp_malformed",
    ),
    "inverted gaps": (lambda a: [chunk(3, struct.pack("!IIHHHH", a.peer_tsn - 1, 1 << 20, 1, 0, 9, 2))], "sctp_malformed"),
    "a truncated INIT": (lambda a: [chunk(1, bytes(8))], "sctp_malformed"),
    "a truncated SACK": (lambda a: [chunk(3, bytes(8))], "sctp_malformed"),
    "truncated DATA": (lambda a: [chunk(0, bytes(8), 3)], "sctp_malformed"),
    "a truncated RECONFIG": (lambda a: [chunk(130, struct.pack("!HHI", 13, 8, 1))], "sctp_malformed"),
    "an odd FORWARD TSN": (lambda a: [chunk(192, struct.pack("!IHB", a.tsn + 5, 1, 1))], "sctp_malformed"),
    "a DCEP acknowledgement on an unknown stream": (lambda a: [data(a.tsn, b"\x02", stream=40, ppid=50)], "sctp_refused"),
    "a label that is not UTF-8": (
        lambda a: [data(a.tsn, struct.pack("!BBHIHH", 3, 0, 0, 0, 2, 0) + b"\xff\xfe", stream=4, ppid=50)],
        "sctp_malformed",
    ),
    "a message that never ends": (
        lambda a: [data(a.tsn + n, bytes(1100), flags=2 if n == 0 else 0) for n in range(1500)],
        f"sctp_malformed|{DROPPED}loop_budget",
    ),
    "chunks far ahead": (lambda a: [data(a.tsn + 5 + 2 * n, bytes(1000)) for n in range(1500)], "sctp_refused"),
}  # fmt: skip


@pytest.mark.parametrize("row", SCTP)
async def test_sctp(field: Field, http: aiohttp.ClientSession, row: str) -> None:
    make, reason = SCTP[row]

    async def attack() -> None:
        client = field.attacker(http, f"attacker{next(NUMBER)}")
        await client.join(auto_subscribe=False)
        association = Association(client)
        await association.open()
        for number, one in enumerate(make(association)):
            association.send(one)
            if number % 20 == 19:
                await asyncio.sleep(0.003)
        await asyncio.sleep(0.1)
        await field.leave(client)

    await field.withstands(attack, counted=(DROPPED + reason,))


async def test_a_reader_that_never_acknowledges(field: Field, http: aiohttp.ClientSession) -> None:
    """Messages for it wait in its send buffer, at most 1 MiB; then its channel is closed."""

    async def attack() -> None:
        deaf = field.attacker(http, f"deaf{next(NUMBER)}", room="deaf")
        await deaf.join(auto_subscribe=False)
        await Association(deaf).open()
        loud = field.attacker(http, f"loud{next(NUMBER)}", room="deaf")
        await loud.join(auto_subscribe=False)
        speaking = Association(loud)
        await speaking.open()
        for number in range(1500):
            speaking.send(data(speaking.tsn, bytes(1100), sequence=number & 0xFFFF))
            speaking.tsn += 1
            if number % 10 == 9:
                await asyncio.sleep(0.003)
        await field.leave(deaf, loud)

    await field.withstands(attack, memory=8_000_000, lines=20)


def spray(
    client: Client, packets: list[bytes], *, control: bool = False, subscriber: bool = False
) -> Callable[[], Awaitable[object]]:
    peer = client.subscribing if subscriber else client.publishing

    async def attack() -> None:
        assert peer.tx is not None
        for number, packet in enumerate(packets):
            seal = peer.tx.session.protect_rtcp if control else peer.tx.session.protect
            with contextlib.suppress(SrtpError):  # libsrtp refuses some of it on both sides
                peer.sock.sendto(seal(packet), peer.server)
            if number % 50 == 49:
                await asyncio.sleep(0.005)
        await asyncio.sleep(0.05)

    return attack


def camera(number: int, *, ssrc: int = 2, **fields: Any) -> bytes:
    return rtp(vp8(key=True), ssrc=ssrc, sequence=number & 0xFFFF, timestamp=number * 3000 & 0xFFFFFFFF, **fields)


async def test_new_streams_without_end(field: Field, http: aiohttp.ClientSession) -> None:
    async with joined(field, http) as client:
        packets = [camera(1, ssrc=1000 + number, extensions={4: b"1"}) for number in range(3000)]
        await field.withstands(spray(client, packets), counted=(DROPPED + "ssrc_limit",))


async def test_jumps_of_the_sequence_numbers(field: Field, http: aiohttp.ClientSession) -> None:
    async with joined(field, http) as client:
        packets = [camera(number * 32_000, extensions={4: b"1"}) for number in range(2000)]
        await field.withstands(spray(client, packets))


async def test_a_header_extension_of_a_wrong_length_and_other_odd_headers(
    field: Field, http: aiohttp.ClientSession
) -> None:
    async with joined(field, http) as client:
        odd = [
            struct.pack("!BBHIIHH", 0x90, 96, number, 1, 2, 0xBEDE, words) + block + b"payload"
            for number, (words, block) in enumerate(
                [
                    (1, b"\x20\x01\x00\x00"),
                    (900, b"\x20\x01\x00\x00"),
                    (1, b"\x4f\x01\x00\x00"),
                    (0, b""),
                    (1, b"\x1f" * 4),
                ]
                * 200
            )
        ]  # fmt: skip
        await field.withstands(spray(client, odd), counted=(DROPPED + "unrouted",))


async def test_bad_tags_by_the_thousand(field: Field, http: aiohttp.ClientSession) -> None:
    async with joined(field, http) as client:
        peer = client.publishing

        async def attack() -> None:
            for number in range(10_000):
                peer.sock.sendto(camera(number) + os.urandom(16), peer.server)
                if number % 50 == 49:
                    await asyncio.sleep(0.003)
            await asyncio.sleep(0.1)

        await field.withstands(attack, counted=(DROPPED + "srtp",))
        client.send()
        grown = await field.withstands(lambda: asyncio.sleep(0.1))
        assert grown["sfu_packets_total:received"] > 0


def nack(media: int, blocks: list[tuple[int, int]]) -> bytes:
    body = struct.pack("!II", 1, media) + b"".join(struct.pack("!HH", *block) for block in blocks)
    return struct.pack("!BBH", 0x81, 205, len(body) // 4) + body


async def test_one_large_nack_again_and_again_is_not_amplified(field: Field, http: aiohttp.ClientSession) -> None:
    async with joined(field, http, publish=False) as client:
        await asyncio.sleep(0.3)
        heard = client.media()
        assert heard
        ssrc = heard[-1].ssrc
        first = heard[0].sequence
        packets = [nack(ssrc, [(first + 17 * n & 0xFFFF, 0xFFFF) for n in range(330)]) for _ in range(300)]
        attack = spray(client, packets, control=True, subscriber=True)
        grown = await field.withstands(attack, counted=(DROPPED + "rtcp_rate",))
        assert grown["sfu_nacks_total:received"] > 0
        assert grown["sfu_retransmissions_total:sent"] <= 3 * 600, "no packet more often than thrice"


async def test_feedback_that_lies_about_its_length(field: Field, http: aiohttp.ClientSession) -> None:
    remb = struct.pack("!BBHII4sBBH", 0x8F, 206, 4, 1, 0, b"REMB", 255, 0x12, 0x3456)
    rows = [
        remb,
        b"\x81\xcd\x00\x40" + bytes(12),
        b"\x9f\xc8\x00\x06" + bytes(24),
        b"\x81\xce\x00\x00",
        b"\x80\xc9\xff\xff" + bytes(8),
    ]
    async with joined(field, http, publish=False) as client:
        attack = spray(client, rows * 30, control=True, subscriber=True)
        await field.withstands(attack, counted=(DROPPED + "rtcp_malformed",))


async def test_a_nack_of_65535_with_a_bitmask_wraps() -> None:
    (parsed,) = rtcp.parse(nack(2, [(65_535, 3)]))
    assert isinstance(parsed, rtcp.Nack)
    assert list(parsed.lost) == [65_535, 0, 1]


async def test_keyframe_requests_without_end(field: Field, http: aiohttp.ClientSession) -> None:
    async with joined(field, http, publish=False) as client:
        await asyncio.sleep(0.5)
        video = [packet.ssrc for packet in client.media() if packet.payload_type != 111]
        if not video:
            ssrcs = {packet.ssrc for packet in client.media()}
            pytest.fail(f"no picture came, only {ssrcs}")
        packets = [rtcp.encode_pli(1, video[-1])] * 1500
        loop = asyncio.get_running_loop()
        began = loop.time()
        grown = await field.withstands(spray(client, packets, control=True, subscriber=True))
        assert grown["sfu_plis_total:received"] > 0
        assert grown["sfu_plis_total:sent"] <= 2 * (loop.time() - began) + 2


async def test_an_address_moves_with_a_check_that_proves_it_and_not_otherwise(
    field: Field, http: aiohttp.ClientSession
) -> None:
    async with joined(field, http) as client:
        peer, thief = client.publishing, RawPeer()

        async def attack() -> None:
            for _ in range(500):
                name = f"{peer.remote_ufrag}:{peer.ufrag}"
                thief.sock.sendto(binding_request(name, "a password that is not it"), field.media)
                thief.sock.sendto(peer.tx.session.protect(camera(next(NUMBER))), field.media)  # type: ignore[union-attr]  # connected before
            await asyncio.sleep(0.05)

        counted = (DROPPED + "stun_not_authentic", DROPPED + "unknown_address")
        await field.withstands(attack, counted=counted)
        thief.close()


async def test_half_open_handshakes_are_capped_and_end(field: Field, http: aiohttp.ClientSession) -> None:
    async def attack() -> None:
        clients = []
        for _ in range(36):
            client = field.attacker(http, f"half{next(NUMBER)}", room="half")
            await client.join(auto_subscribe=False)
            peer = client.publishing
            answer = await client.request(
                "publish",
                sdp=peer.offer(),
                tracks=[{"mid": "0", "source": "microphone"}, {"mid": "1", "source": "camera"}],
            )
            peer.use(answer["sdp"], role="client")
            peer.check()
            for _ in range(10):
                peer.sock.sendto(b"\x80\x6f" + bytes(60), peer.server)
            clients.append(client)
        await asyncio.sleep(0.1)
        await field.leave(*clients)

    counted = (DROPPED + "half_open_limit", DROPPED + "before_keys")
    await field.withstands(attack, counted=counted, lines=200, memory=12_000_000)
