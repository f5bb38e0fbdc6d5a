"""VP8 payload descriptors."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sfu.errors import MalformedPacket
from sfu.rtp.codecs.vp8 import Descriptor, describe

KEY = bytes.fromhex("10 02 00 9d012a 8002 e001")  # 640 × 480
DELTA = b"\x01\0\0"


def plain(**fields: object) -> Descriptor:
    return Descriptor(False, 0, 0, -1, 0, -1, 0, 0, -1, 0, False, False, False)._replace(**fields)  # type: ignore[arg-type]  # a table of fields


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (b"\x10" + KEY, plain(keyframe=True, width=640, height=480, begin=True)),
        (b"\x10" + KEY[:9], plain(keyframe=True, begin=True)),
        (b"\x10" + DELTA, plain(begin=True)),
        (b"\x30" + DELTA, plain(begin=True, non_reference=True)),
        (b"\x00" + KEY, plain()),
        (b"\x11" + KEY, plain()),
        (b"\x90\x80\x05" + KEY, plain(
            keyframe=True, width=640, height=480, begin=True, picture_id=5, picture_id_offset=2, picture_id_bits=7
        )),
        (b"\x90\xe0\x81\x23\x07\x60" + DELTA, plain(
            begin=True, picture_id=0x123, picture_id_offset=2, picture_id_bits=15, tl0picidx=7, tl0picidx_offset=4,
            temporal=1, layer_sync=True,
        )),
        (b"\x90\x40\x09" + DELTA, plain(begin=True, tl0picidx=9, tl0picidx_offset=2)),
        (b"\x90\x10\xff" + DELTA, plain(begin=True)),
        (b"\x90\x20\x80" + DELTA, plain(begin=True, temporal=2)),
    ],
)  # fmt: skip
def test_descriptors(payload: bytes, expected: Descriptor) -> None:
    assert describe(payload, 0, len(payload)) == expected
    shifted = describe(memoryview(b"abc" + payload + b"z"), 3, 3 + len(payload))
    for field in ("picture_id_offset", "tl0picidx_offset"):
        offset = getattr(expected, field)
        expected = expected._replace(**{field: offset and offset + 3})
    assert shifted == expected


@pytest.mark.parametrize(
    "payload",
    [b"", b"\x10", b"\x90", b"\x90\x80", b"\x90\x80\x80", b"\x90\xc0\x01", b"\x90\xe0\x81\x23\x07", b"\x90\x80\x01"],
)
def test_truncated(payload: bytes) -> None:
    with pytest.raises(MalformedPacket):
        describe(payload, 0, len(payload))
    with pytest.raises(MalformedPacket):
        describe(payload + b"more of the buffer", 0, len(payload))


@given(st.binary(max_size=40))
def test_random_bytes(payload: bytes) -> None:
    try:
        found = describe(payload, 0, len(payload))
    except MalformedPacket:
        return
    assert found.picture_id_offset < len(payload)
    assert found.keyframe <= found.begin
