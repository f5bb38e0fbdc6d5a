"""sfu.rtp.codecs.packetizers and avcc: pictures survive packetization; hostile input is malformed."""

import random
from contextlib import suppress

import numpy as np
import pytest

from sfu.errors import MalformedPacket
from sfu.rtp.codecs import av1, h264
from sfu.rtp.codecs.avcc import parse_avcc, split_units
from sfu.rtp.codecs.packetizers import (
    MAX_PAYLOAD_BYTES,
    av1_payloads,
    h264_payloads,
    has_sequence_header,
    split_obus,
    vp9_payloads,
)
from sfu.rtp.frames import FrameAssembler
from sfu.rtp.sender import RtpSender
from tests.support.packetize import encode
from tests.support.x264 import encode_h264

PICTURES = list(np.random.default_rng(1).integers(16, 235, (4, 270, 320), np.uint8))


SPS = bytes.fromhex("64000dacd941419fa6a2020203c0000003004000000f23c50a6580")


def assembled(codec: str, frames: list[list[bytes]]) -> list[bytes]:
    sender, assembler = RtpSender(7, 96, 90_000, 65_534, 11), FrameAssembler(codec)
    found = []
    for number, payloads in enumerate(frames):
        assert payloads
        assert max(map(len, payloads)) <= MAX_PAYLOAD_BYTES
        for packet in sender.packets(payloads, 3000 * number):
            found += assembler.receive(packet, 0.0)
    return [frame.data for frame in found]


def test_vp9() -> None:
    units = list(encode("VP9", PICTURES))
    frames = [list(vp9_payloads(unit, n, keyframe=not unit[0] & 4)) for n, unit in enumerate(units)]
    assert assembled("VP9", frames) == units


def test_av1() -> None:
    units = list(encode("AV1", PICTURES))
    obus = [split_obus(unit) for unit in units]
    assert [has_sequence_header(one) for one in obus] == [True, False, False, False]
    assert assembled("AV1", [list(av1_payloads(one)) for one in obus]) == units
    first = next(av1_payloads(obus[0]))
    described = av1.describe(first, 0, len(first))
    assert described.keyframe
    assert (described.width, described.height) == (320, 180)


def test_long_parameter_sets_are_sent_alone() -> None:
    sets = [b"\x67" + bytes(700), b"\x68" + bytes(700)]
    payloads = list(h264_payloads([b"\x65" + bytes(10)], sets))
    assert h264.nal_units(payloads) == [*sets, b"\x65" + bytes(10)]


def test_avcc() -> None:
    record = b"\x01\x64\x00\x1f\xff\xe1\x00\x03\x67ab\x01\x00\x02\x68c"
    assert parse_avcc(record) == (4, (b"\x67ab",), (b"\x68c",))
    for size in range(len(record)):
        with pytest.raises(MalformedPacket):
            parse_avcc(record[:size])
    assert split_units(b"\0\0\0\2ab\0\0\0\0\0\0\0\1c") == [b"ab", b"c"]
    assert split_units(b"\2ab\1c", 1) == [b"ab", b"c"]
    with pytest.raises(MalformedPacket):
        split_units(b"\0\0\0\5ab")
    with pytest.raises(MalformedPacket):
        split_units(b"\0\0\0\1a" * 2000)


def x264(b_frames: int, profile: str, pixels: str = "yuv420p") -> tuple[h264.Sps, list[bytes]]:
    """Parameter set and NAL units of x264."""
    config, pictures = encode_h264(PICTURES * 2, b_frames=b_frames, profile=profile, pixels=pixels)
    units = [unit for picture in pictures for unit in split_units(picture)]
    return h264.parse_sps(parse_avcc(config).sps[0][1:]), units


def test_b_frames_are_found_in_the_parameter_set_and_in_slices() -> None:
    sps, units = x264(2, "high")
    assert sps[:2] == (100, 0)
    assert (sps.width, sps.height, sps.chroma, sps.bit_depth, sps.progressive) == (320, 180, 1, 8, True)
    assert (sps.reorder_frames or 0) > 0
    assert any(map(h264.has_b_slice, units))
    sps, units = x264(0, "main")
    assert (sps.profile, sps.reorder_frames) == (77, 0)
    assert not any(map(h264.has_b_slice, units))


def test_profiles_that_browsers_lack() -> None:
    assert x264(0, "high422", "yuv422p")[0].chroma == 2
    assert x264(0, "high10", "yuv420p10le")[0].bit_depth == 10


def test_hostile_input_is_malformed_or_harmless() -> None:
    rng = random.Random(2)
    av1_unit = next(iter(encode("AV1", PICTURES[:1])))
    for _ in range(2000):
        data = bytearray(rng.choice((SPS, av1_unit[:200])))
        for _ in range(3):
            data[rng.randrange(len(data))] = rng.randrange(256)
        for parse in (h264.parse_sps, h264.has_b_slice, split_obus, parse_avcc, split_units):
            with suppress(MalformedPacket):
                parse(bytes(data))
