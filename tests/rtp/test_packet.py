"""The RTP header view and the walk over header extensions."""

from struct import pack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sfu.errors import MalformedPacket
from sfu.rtp.packet import ONE_BYTE_PROFILE, TWO_BYTE_PROFILE, Header, extensions, parse_header

FIXED = pack("!BBHII", 0x80, 0xE0, 7, 8, 9)
WITH_ALL = pack("!BBHII", 0xB2, 0x60, 7, 8, 9) + bytes(8) + pack("!HH4x", 0xBEDE, 1) + b"media" + b"\0\0\3"


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (FIXED, Header(96, True, 7, 8, 9, 0, 0, 0, 12, 12)),
        (FIXED + b"media", Header(96, True, 7, 8, 9, 0, 0, 0, 12, 17)),
        (WITH_ALL, Header(96, False, 7, 8, 9, 0xBEDE, 24, 28, 28, 33)),
        (pack("!BBHIIHH", 0x90, 0, 1, 2, 3, 0xBEDE, 0), Header(0, False, 1, 2, 3, 0xBEDE, 16, 16, 16, 16)),
    ],
)
def test_header(data: bytes, expected: Header) -> None:
    assert parse_header(data) == expected
    assert parse_header(memoryview(data)) == expected


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"", "nothing"),
        (FIXED[:11], "less than a header"),
        (b"\x40" + FIXED[1:], "version 1"),
        (b"\x81" + FIXED[1:], "a contributing source that is not there"),
        (b"\x90" + FIXED[1:], "an extension that is not there"),
        (b"\x90" + FIXED[1:] + b"\xbe\xde\x00\x01", "an extension longer than the packet"),
        (b"\xa0" + FIXED[1:] + b"\0", "padding of length 0"),
        (b"\xa0" + FIXED[1:] + b"\2", "padding into the header"),
    ],
)
def test_malformed(data: bytes, what: str) -> None:
    with pytest.raises(MalformedPacket):
        parse_header(data)


@pytest.mark.parametrize(
    ("profile", "block", "expected"),
    [
        (ONE_BYTE_PROFILE, b"", []),
        (ONE_BYTE_PROFILE, b"\x10a\x00\x21bb", [(1, 1, 1), (2, 4, 2)]),
        (ONE_BYTE_PROFILE, b"\x10a\xf0\x21bb", [(1, 1, 1)]),
        (ONE_BYTE_PROFILE, b"\x10a\x01\x21bb", [(1, 1, 1)]),
        (TWO_BYTE_PROFILE, b"\x01\x00\x00\x02\x02bb", [(1, 2, 0), (2, 5, 2)]),
        (TWO_BYTE_PROFILE | 5, b"\xf0\x01b", [(240, 2, 1)]),
        (0x1234, b"\x10a", []),
    ],
)
def test_extensions(profile: int, block: bytes, expected: list[tuple[int, int, int]]) -> None:
    assert extensions(block, 0, len(block), profile) == expected
    shifted = [(identifier, offset + 3, length) for identifier, offset, length in expected]
    assert extensions(memoryview(b"xxx" + block + b"yyy"), 3, 3 + len(block), profile) == shifted


@pytest.mark.parametrize(
    ("profile", "block"),
    [
        (ONE_BYTE_PROFILE, b"\x11a"),
        (ONE_BYTE_PROFILE, b"\x10"),
        (TWO_BYTE_PROFILE, b"\x01"),
        (TWO_BYTE_PROFILE, b"\x01\x02a"),
    ],
)
def test_elements_stay_in_their_block(profile: int, block: bytes) -> None:
    with pytest.raises(MalformedPacket):
        extensions(block + b"more", 0, len(block), profile)


def test_a_block_stays_in_its_packet() -> None:
    with pytest.raises(MalformedPacket):
        extensions(b"\x10a", 0, 8, ONE_BYTE_PROFILE)


def walk(data: bytes) -> None:
    try:
        header = parse_header(data)
        assert 12 <= header.payload_start <= header.payload_end <= len(data)
        for _, offset, length in extensions(
            data, header.extension_start, header.extension_end, header.extension_profile
        ):
            assert header.extension_start < offset <= offset + length <= header.extension_end
    except MalformedPacket:
        pass


@given(st.binary(max_size=200))
def test_random_bytes(data: bytes) -> None:
    walk(data)


@given(st.integers(0x80, 0xBF), st.sampled_from([ONE_BYTE_PROFILE, TWO_BYTE_PROFILE]), st.binary(max_size=120))
def test_random_extensions(first: int, profile: int, rest: bytes) -> None:
    csrcs = bytes(4 * (first & 15))
    walk(pack("!BBHII", first | 0x10, 96, 1, 2, 3) + csrcs + pack("!HH", profile, len(rest) // 8) + rest)
