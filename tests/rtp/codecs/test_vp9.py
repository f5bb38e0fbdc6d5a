"""VP9 payload descriptors."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sfu.errors import MalformedPacket
from sfu.rtp.codecs.vp9 import Descriptor, describe

DATA = b"\x82\x49"


def plain(**fields: object) -> Descriptor:
    found = Descriptor(False, 0, 0, -1, 0, -1, 0, 0, -1, 0, False, False, False, False, False, False, 1)
    return found._replace(**fields)  # type: ignore[arg-type]  # a table of fields


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (b"\x08" + DATA, plain(keyframe=True, begin=True)),
        (b"\x0c" + DATA, plain(keyframe=True, begin=True, end=True)),
        (b"\x48" + DATA, plain(begin=True, inter_picture=True)),
        (b"\x00" + DATA, plain()),
        (b"\x88\x05" + DATA, plain(
            keyframe=True, begin=True, picture_id=5, picture_id_offset=1, picture_id_bits=7, payload_start=2
        )),
        (b"\xa8\x81\x02\x36\x09" + DATA, plain(
            begin=True, picture_id=258, picture_id_offset=1, picture_id_bits=15, temporal=1, switching_up=True,
            spatial=3, tl0picidx=9, tl0picidx_offset=4, payload_start=5,
        )),
        (b"\x28\x01\x09" + DATA, plain(
            keyframe=True, begin=True, temporal=0, inter_layer=True, tl0picidx=9, tl0picidx_offset=2, payload_start=3
        )),
        (b"\x78\x20\x03\x04" + DATA, plain(
            begin=True, inter_picture=True, flexible=True, temporal=1, payload_start=4
        )),
        (b"\x0a\x18\x02\x80\x01\xe0\x02\x00\x14\x01" + DATA, plain(
            keyframe=True, begin=True, width=640, height=480, payload_start=10
        )),
        (b"\x0a\x30\x01\x40\x00\xf0\x02\x80\x01\xe0" + DATA, plain(
            keyframe=True, begin=True, width=640, height=480, payload_start=10
        )),
    ],
)  # fmt: skip
def test_descriptors(payload: bytes, expected: Descriptor) -> None:
    assert describe(payload, 0, len(payload)) == expected
    shifted = describe(memoryview(b"abc" + payload), 3, 3 + len(payload))
    for field in ("picture_id_offset", "tl0picidx_offset", "payload_start"):
        offset = getattr(expected, field)
        expected = expected._replace(**{field: offset and offset + 3})
    assert shifted == expected


@pytest.mark.parametrize(
    "payload",
    [
        b"", b"\x08", b"\x88", b"\x88\x81", b"\x88\x81\x02", b"\x28\x01", b"\x58\x03\x03\x03\x03x", b"\x58\x03",
        b"\x0a", b"\x0a\x18\x02\x80", b"\x0a\x08\xff\x0c",
    ],
)  # fmt: skip
def test_malformed(payload: bytes) -> None:
    with pytest.raises(MalformedPacket):
        describe(payload, 0, len(payload))


@given(st.binary(max_size=60), st.integers(0, 20))
def test_random_bytes(payload: bytes, cut: int) -> None:
    end = max(0, len(payload) - cut)
    try:
        found = describe(payload, 0, end)
    except MalformedPacket:
        return
    assert found.payload_start < end
    assert max(found.picture_id_offset, found.tl0picidx_offset) < end
