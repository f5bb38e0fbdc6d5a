"""sfu.transport.sctp_association: the short way of plain packets lets nothing pass that the long one would not."""

import random
from struct import pack_into

from google_crc32c import value as crc32c

from sfu.transport.sctp_association import SctpAssociation
from tests.transport.test_sctp_guard import Pair, pair

__all__ = ["pair"]


def long_way(association: SctpAssociation, packet: bytes) -> bytes:
    association._is_plain = lambda packet: False  # type: ignore[method-assign]  # forces the slow path
    try:
        return association.check(packet)
    finally:
        del association._is_plain


def damaged(packet: bytes, dice: random.Random) -> bytes:
    """A byte or two of the head changed, or the end, and sealed again."""
    found = bytearray(packet)
    for _ in range(dice.randrange(1, 3)):
        found[dice.randrange(12, min(32, len(found)))] = dice.choice((0, 1, 3, 15, 16, 17, 255, dice.randrange(256)))
    if dice.random() < 0.3:
        found += bytes(dice.randrange(1, 5))
    elif dice.random() < 0.2:
        del found[-dice.randrange(1, 5) :]
    pack_into("<I", found, 8, 0)
    pack_into("<I", found, 8, crc32c(bytes(found)))
    return bytes(found)


async def test_the_short_way_is_the_long_one(pair: Pair) -> None:
    dice = random.Random(7)
    channel = pair.open("reliable")
    await pair.run()
    server, plain, changed = pair.server, 0, 0
    pair.lose = lambda number: dice.random() < 0.05
    check = server.check

    def compared(packet: bytes) -> bytes:
        nonlocal plain, changed
        if server._is_plain(packet):
            plain += 1
            assert long_way(server, packet) == packet
        for _ in range(20):
            other = damaged(packet, dice)
            if server._is_plain(other):
                changed += 1
                assert long_way(server, other) == other
        assert not server._is_plain(packet[:-1] + bytes([packet[-1] ^ 1])), "its checksum is wrong"
        return check(packet)

    server.check = compared  # type: ignore[method-assign]  # observes the real method
    for number in range(400):
        channel.send(bytes(1 + number * 7 % 3000))
        if pair.channels and number % 3 == 0:
            pair.channels[0].send(b"back")
        await pair.run()
        if pair.client._t3_handle is not None and number % 10 == 9:
            pair.client._t3_handle.cancel()
            pair.client._t3_expired()
            await pair.run()
    assert plain > 300
    assert changed > 50
