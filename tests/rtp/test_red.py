"""RED payloads: the primary block and the redundant ones."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sfu.errors import MalformedPacket
from sfu.rtp.red import RedundantBlock, primary, redundant


def red(*blocks: tuple[int, int, bytes], last: tuple[int, bytes]) -> bytes:
    heads = b"".join(
        bytes([0x80 | payload_type, offset >> 6, (offset & 0x3F) << 2 | len(data) >> 8, len(data) & 0xFF])
        for payload_type, offset, data in blocks
    )
    return heads + bytes([last[0]]) + b"".join(data for _, _, data in blocks) + last[1]


@pytest.mark.parametrize(
    ("payload", "expected", "blocks"),
    [
        (red(last=(111, b"now")), (111, 1, 4), []),
        (red((111, 960, b"old"), last=(111, b"now")), (111, 8, 11), [RedundantBlock(111, 960, 5, 8)]),
        (
            red((110, 16383, b"older" * 100), (111, 960, b""), last=(111, b"")),
            (111, 509, 509),
            [RedundantBlock(110, 16383, 9, 509), RedundantBlock(111, 960, 509, 509)],
        ),
    ],
)
def test_blocks(payload: bytes, expected: tuple[int, int, int], blocks: list[RedundantBlock]) -> None:
    assert primary(payload, 0, len(payload)) == expected
    assert redundant(memoryview(payload), 0, len(payload)) == blocks
    kind, start, end = primary(b"head" + payload + b"tail", 4, 4 + len(payload))
    assert (kind, start - 4, end - 4) == expected


@pytest.mark.parametrize(
    "payload",
    [b"", b"\xef", b"\xef\0\0\1", b"\xef\0\0\2\x6fx", b"\xef\0\0\0" * 17 + b"\x6f"],
)
def test_malformed(payload: bytes) -> None:
    with pytest.raises(MalformedPacket):
        primary(payload, 0, len(payload))
    with pytest.raises(MalformedPacket):
        redundant(payload, 0, len(payload))


@given(st.binary(max_size=100), st.integers(0, 3), st.integers(0, 3))
def test_random_bytes(payload: bytes, before: int, after: int) -> None:
    end = max(before, len(payload) - after)
    if end > len(payload):
        return
    try:
        _, start, stop = primary(payload, before, end)
        blocks = redundant(payload, before, end)
    except MalformedPacket:
        return
    assert before < start <= stop == end
    assert all(before < block.start <= block.end <= start for block in blocks)
