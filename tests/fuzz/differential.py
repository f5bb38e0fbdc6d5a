"""The packet path in C against the one in Python: random and mutated packets, the same datagrams and the same state."""

import random
import time

from sfu.forwarding.offsets import Offsets
from tests.transport.test_native import OTHERS, USUAL, Traffic, World, key_frame

CODECS = ("VP8", "VP8", "VP9", "H264", "AV1")


def mutated(packet: bytes, choose: random.Random) -> bytes:
    """Bits turned, bytes replaced by telling ones, cut, lengthened; still as long as a header, as what was opened is."""
    out = bytearray(packet)
    for _ in range(choose.choice((1, 1, 2, 5))):
        at = choose.randrange(len(out)) if choose.random() < 0.5 else choose.randrange(min(len(out), 48))
        kind = choose.randrange(5)
        if kind == 0:
            out[at] ^= 1 << choose.randrange(8)
        elif kind == 1:
            out[at] = choose.choice((0, 1, 0x7F, 0x80, 0xBE, 0xDE, 0xF0, 0xFF))
        elif kind == 2:
            del out[max(12, at) :]
        elif kind == 3:
            out[at:at] = choose.randbytes(choose.randrange(1, 20))
        else:
            del out[at : at + choose.randrange(1, 5)]
        out += bytes(max(0, 12 - len(out)))
    return bytes(out[:1400])


def compare(seed: int, batches: int = 60) -> int:
    """One pair of worlds; how many packets they were given. Raises AssertionError where they differ."""
    choose = random.Random(seed)
    codec, segments, count = choose.choice(CODECS), choose.random() < 0.7, choose.randrange(4)
    traffic = Traffic(seed, choose.choice((0.0, 0.02, 0.2)))
    traffic.wide = choose.choice((0.0, 0.1))
    kinds = [choose.choice((USUAL, *OTHERS)) for _ in range(3)]
    tcp = choose.random() < 0.3
    worlds = [
        World(with_native=native, codec=codec, segments=segments, subscribers=count, kinds=kinds, tcp=tcp)
        for native in (True, False)
    ]
    given = 0
    try:
        for number in range(batches):
            batch = [traffic.packet() for _ in range(choose.choice((1, 1, 3, 8, 40)))] if number > 1 else []
            batch = [mutated(packet, choose) if choose.random() < 0.3 else packet for packet in batch]
            batch = batch or [key_frame(65_498 + number, codec)]
            change, numbers = choose.random(), [choose.getrandbits(16) for _ in range(5)]
            for world in worlds:
                for down_track in world.down_tracks[::2] if change < 0.2 else ():
                    down_track.offsets = Offsets._make((*numbers, True))
                if 0.2 < change < 0.25:
                    world.engine.mute(world.video, not world.video.muted, world.now)
                elif 0.25 < change < 0.27 and world.down_tracks:
                    world.engine.remove_down_track(world.down_tracks.pop(0))
                world.send(batch)
            given += len(batch)
            assert worlds[0].sent() == worlds[1].sent(), f"seed {seed}, batch {number}: other datagrams"
            assert worlds[0].state() == worlds[1].state(), f"seed {seed}, batch {number}: another state"
    finally:
        for world in worlds:
            world.close()
    return given


def differences(seconds: float, seed: int = 0) -> int:
    """As long as asked; how many packets."""
    end, given = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        given += compare(seed)
        seed += 1
    return given
