import random
import struct

import pytest

from sfu.errors import MalformedPacket
from sfu.transport.framing import FRAME_LIMIT, first_bytes_match, header, split


def framed(*datagrams: bytes) -> bytes:
    return b"".join(struct.pack("!H", len(each)) + each for each in datagrams)


@pytest.mark.parametrize(
    ("data", "frames", "taken", "skipped"),
    [
        (b"", [], 0, 0),
        (b"\x00", [], 0, 0),
        (b"\x00\x0c" + bytes(11), [], 0, 0),
        (framed(bytes(12)), [(2, 14)], 14, 0),
        (framed(bytes(12)) + b"\x05", [(2, 14)], 14, 0),
        (framed(bytes(12), bytes(20)), [(2, 14), (16, 36)], 36, 0),
        (framed(b"", b"x" * 11, bytes(12)), [(17, 29)], 29, 2),
        (framed(bytes(FRAME_LIMIT)), [(2, FRAME_LIMIT + 2)], FRAME_LIMIT + 2, 0),
    ],
)
def test_split(data: bytes, frames: list[tuple[int, int]], taken: int, skipped: int) -> None:
    assert split(data, len(data)) == (frames, taken, skipped)


@pytest.mark.parametrize(
    "data",
    [
        b"\xff\xff",
        struct.pack("!H", FRAME_LIMIT + 1),
        framed(bytes(12)) + b"\xff\xff",
        b"\x16\x03\x01\x02\x00",  # TLS
        b"GET / HTTP/1.1\r\n",
    ],
)
def test_a_frame_above_the_limit_is_malformed(data: bytes) -> None:
    with pytest.raises(MalformedPacket):
        split(data, len(data))


def test_frames_survive_any_segmentation() -> None:
    choose = random.Random(4)
    datagrams = [choose.randbytes(choose.choice((12, 20, 200, 1200, FRAME_LIMIT))) for _ in range(200)]
    stream, kept, got = framed(*datagrams), b"", []
    while stream:
        size = choose.choice((1, 2, 3, 50, 3000))
        kept, stream = kept + stream[:size], stream[size:]
        frames, taken, skipped = split(kept, len(kept))
        got += [kept[begin:end] for begin, end in frames]
        kept = kept[taken:]
        assert not skipped
        assert len(kept) < FRAME_LIMIT + 2
    assert got == datagrams


@pytest.mark.parametrize("size", [0, 1, 1200, FRAME_LIMIT, FRAME_LIMIT + 1, 65_535])
def test_header(size: int) -> None:
    assert header(size) == struct.pack("!H", size)


@pytest.mark.parametrize(
    ("data", "matches"),
    [
        (b"", False),
        (framed(bytes(100)), True),
        (b"\x08", True),
        (b"\x16\x03\x01", False),
        (b"GET ", False),
        (b"\xff", False),
    ],
)
def test_the_first_byte_tells_ice_tcp_from_tls_and_http(data: bytes, matches: bool) -> None:
    assert first_bytes_match(data) is matches
