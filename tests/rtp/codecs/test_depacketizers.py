"""Depacketizers of all codecs: what becomes of the payloads of one picture."""

import pytest

from sfu.errors import MalformedPacket
from sfu.rtp.codecs import av1
from sfu.rtp.codecs.depacketizers import depacketizer

START = b"\0\0\0\1"
SPS, PPS = bytes.fromhex("6764000dacd941419fa6a2020203c0000003004000000f23c50a6580"), bytes.fromhex("68ebe3cb22c0")
IDR, SLICE, SEI = b"\x65\x88picture", b"\x41\x9apicture", b"\x06\x05sei"


@pytest.mark.parametrize("codec", ["VP8", "vp9", "H264", "av1"])
def test_codecs_are_found_by_name(codec: str) -> None:
    assert depacketizer(codec).spatial > 0
    assert depacketizer(codec) is not depacketizer(codec)


@pytest.mark.parametrize("codec", ["", "opus", "H265"])
def test_other_codecs_are_an_error(codec: str) -> None:
    with pytest.raises(ValueError, match="no depacketizer"):
        depacketizer(codec)


@pytest.mark.parametrize("codec", ["VP8", "VP9", "H264", "AV1"])
def test_empty_payloads_are_malformed(codec: str) -> None:
    with pytest.raises(MalformedPacket):
        depacketizer(codec).begins_keyframe(b"")


def test_vp8_descriptors_are_removed() -> None:
    one = depacketizer("VP8")
    first, second = b"\x90\x80\x12\x10\x02\x00\x9d\x01\x2a\x40\x01\xb4\x00", b"\x80\x80\x12rest"
    assert one.begins_keyframe(first)
    assert not one.begins_keyframe(second)
    assert one.join([first, second]) == b"\x10\x02\x00\x9d\x01\x2a\x40\x01\xb4\x00rest"


def vp9(spatial: int, *, begin: bool, end: bool, data: bytes) -> bytes:
    """A payload in non-flexible mode with layer indices and TL0PICIDX."""
    head = 0x20 | (0x08 if begin else 0) | (0x04 if end else 0)
    return bytes([head, spatial << 1, 0]) + data


def test_vp9_layers_become_one_superframe() -> None:
    one = depacketizer("VP9")
    payloads = [
        vp9(0, begin=True, end=False, data=b"aa"),
        vp9(0, begin=False, end=True, data=b"a"),
        vp9(1, begin=True, end=True, data=b"b" * 300),
    ]
    marker = bytes([0xC0 | 1 << 3 | 1])
    assert one.join(payloads) == b"aaa" + b"b" * 300 + marker + b"\x03\x00\x2c\x01" + marker
    one.spatial = 0
    assert one.join(payloads) == b"aaa", "a single frame has no index"
    assert one.join(payloads[2:]) == b"", "nothing of this layer"


def test_h264_start_codes_and_stored_parameter_sets() -> None:
    one = depacketizer("H264")
    aggregate = b"\x78" + len(SPS).to_bytes(2, "big") + SPS + len(PPS).to_bytes(2, "big") + PPS
    assert one.begins_keyframe(aggregate)
    assert one.join([aggregate, IDR]) == START + SPS + START + PPS + START + IDR
    assert one.join([SLICE]) == START + SLICE
    assert one.join([IDR]) == START + SPS + START + PPS + START + IDR, "the sender sends the sets once"
    assert one.join([SEI]) == b"", "no picture"


def test_h264_fragments_are_joined() -> None:
    one = depacketizer("H264")
    fragments = [b"\x7c\x85\x88pic", b"\x7c\x05tu", b"\x7c\x45re"]
    assert one.join(fragments) == START + b"\x65\x88picture"
    for broken in (fragments[:2], fragments[1:], [*fragments[:1], SLICE]):
        with pytest.raises(MalformedPacket):
            one.join(broken)


def test_stored_parameter_sets_are_bounded() -> None:
    one = depacketizer("H264")
    head = SPS[:4]
    # ue(v) of 15 to 200: identifiers of as many sets.
    for number in range(15, 200):
        one.join([head + ((number + 1) << 9 | 1).to_bytes(3, "big") + bytes(10), IDR])
    large = head + b"\x80" + bytes(2000)
    one.join([large, IDR])
    assert len(one.join([IDR])) < 16 * 40 + 100


@pytest.mark.parametrize("keeps_size", [False, True])
def test_av1_obus_get_a_size_and_a_temporal_delimiter(keeps_size: bool) -> None:
    body = b"frame header and tiles"
    obu = bytes([0x32 if keeps_size else 0x30]) + (av1.leb128(len(body)) if keeps_size else b"") + body
    assert depacketizer("AV1").join([b"\x10" + obu]) == b"\x12\0" + b"\x32" + av1.leb128(len(body)) + body


def test_av1_layers_delimiters_and_padding_are_dropped() -> None:
    one = depacketizer("AV1")
    base, upper = b"\x34\x00base", b"\x34\x08upper"  # spatial ids 0 and 1
    elements = [b"\x10", base, upper, b"\x78pad", b"\x40tiles"]
    payloads = [b"\x10" + element + b"" for element in elements if len(element) > 1]
    assert one.join(payloads) == b"\x12\0\x36\x00\x04base\x36\x08\x05upper"
    one.spatial = 0
    assert one.join(payloads) == b"\x12\0\x36\x00\x04base"
    assert one.join(payloads[1:2]) == b""


def test_an_av1_obu_without_its_extension_is_malformed() -> None:
    with pytest.raises(MalformedPacket):
        depacketizer("AV1").join([b"\x10\x34"])
