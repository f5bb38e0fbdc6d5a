"""H.264 payloads: single units, aggregations, fragments, and the picture size in the parameter set."""

from struct import pack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sfu.errors import MalformedPacket
from sfu.rtp.codecs.h264 import Descriptor, describe, sps_size

PPS = b"\x68\xce\x3c\x80"
IDR = b"\x65\x88\x84"


def stap(*units: bytes) -> bytes:
    return b"\x78" + b"".join(pack("!H", len(unit)) + unit for unit in units)


SPS = bytes.fromhex("6742e01f")


def described(payload: bytes) -> Descriptor:
    found = describe(payload, 0, len(payload))
    assert describe(memoryview(b"abc" + payload + b"z"), 3, 3 + len(payload)) == found
    return found


@pytest.mark.parametrize(
    ("payload", "keyframe", "parameter_set"),
    [
        (IDR, True, False),
        (b"\x65\x08", False, False),
        (b"\x61\x88", False, False),
        (SPS, True, True),
        (PPS, False, False),
        (stap(SPS, PPS), True, True),
        (stap(SPS, PPS, IDR), True, True),
        (stap(PPS, IDR), True, False),
        (stap(b"\x06\x01", b"\x41\x9a"), False, False),
        (b"\x7c\x85\x88", True, False),
        (b"\x7c\x85\x08", False, False),
        (b"\x7c\x05\x88", False, False),
        (b"\x7c\x45\x88", False, False),
        (b"\x7c\x81\x88", False, False),
        (b"\x7c\x87\x42", True, True),
        (b"\x7d\x85\x00\x01\x88", True, False),
    ],
)
def test_keyframes(payload: bytes, keyframe: bool, parameter_set: bool) -> None:
    found = described(payload)
    assert (found.keyframe, found.parameter_set) == (keyframe, parameter_set)


class Writer:
    """The counterpart of BitReader, to create parameter sets with known contents."""

    def __init__(self) -> None:
        self.bits = ""

    def u(self, count: int, value: int) -> "Writer":
        self.bits += f"{value:0{count}b}"
        return self

    def ue(self, *values: int) -> "Writer":
        for value in values:
            code = f"{value + 1:b}"
            self.bits += "0" * (len(code) - 1) + code
        return self

    def done(self) -> bytes:
        bits = self.bits + "1" + "0" * (-(len(self.bits) + 1) % 8)
        data = int(bits, 2).to_bytes(len(bits) // 8, "big")
        for byte in range(4):  # emulation prevention
            data = data.replace(b"\0\0" + bytes([byte]), b"\0\0\3" + bytes([byte]))
        return data


def sps(width: int, height: int, crop: tuple[int, int, int, int] | None, *, high: bool = False) -> bytes:
    writer = Writer().u(8, 100 if high else 66).u(16, 0xC01F).ue(0)
    if high:
        writer.ue(1, 0, 0).u(1, 0).u(1, 1).u(1, 1)
        for _ in range(16):
            writer.ue(0)
        writer.u(7, 0)
    writer.ue(4, 0, 4, 1).u(1, 0).ue(width // 16 - 1, height // 16 - 1).u(1, 1).u(1, 1)
    writer.u(1, crop is not None)
    if crop is not None:
        writer.ue(*crop)
    return writer.u(1, 0).done()


@pytest.mark.parametrize(
    ("parameter_set", "size"),
    [
        (sps(640, 480, None), (640, 480)),
        (sps(1920, 1088, (0, 0, 0, 4)), (1920, 1080)),
        (sps(320, 192, (0, 0, 0, 6)), (320, 180)),
        (sps(1280, 720, None, high=True), (1280, 720)),
        # written by x264: high 720p, baseline 180p, high 1080p
        (bytes.fromhex("64001facd9405005ba10000003001000000303c0f1831960"), (1280, 720)),
        (bytes.fromhex("42c00dd901419f9e10000003001000000303c0f142a480"), (320, 180)),
        (bytes.fromhex("640028acd940780227e584000003000400000300f03c60c658"), (1920, 1080)),
    ],
)
def test_picture_sizes(parameter_set: bytes, size: tuple[int, int]) -> None:
    assert sps_size(parameter_set) == size
    assert described(b"\x67" + parameter_set)[1:3] == size
    assert described(stap(b"\x67" + parameter_set, PPS, IDR))[1:3] == size
    assert described(b"\x7c\x87" + parameter_set)[1:3] == size


def test_a_wrong_parameter_set_has_no_size() -> None:
    for wrong in (b"\x67", b"\x67\x42\xe0\x1f", b"\x67\x42\xe0\x1f" + bytes(40), b"\x67" + b"\xff" * 200):
        assert described(wrong)[1:3] in ((0, 0), (16, 16))


@pytest.mark.parametrize(
    "payload", [b"", b"\x7c", b"\x7c\x85", b"\x78\x00", b"\x78\x00\x00", b"\x78\x00\x09\x67", stap(SPS) + b"\0"]
)
def test_malformed(payload: bytes) -> None:
    with pytest.raises(MalformedPacket):
        describe(payload, 0, len(payload))


@given(st.binary(max_size=80))
def test_random_bytes(payload: bytes) -> None:
    for first in (b"", b"\x67", b"\x78", b"\x7c\x87"):
        try:
            describe(first + payload, 0, len(first + payload))
        except MalformedPacket:
            continue


@given(st.binary(max_size=200))
def test_random_parameter_sets(data: bytes) -> None:
    try:
        width, height = sps_size(b"\x64\0\x1f" + data)
    except MalformedPacket:
        return
    assert 0 < width <= 16384
    assert 0 < height <= 16384
