"""AV1 payloads: aggregation headers, layers, and the picture size in the sequence header."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sfu.errors import MalformedPacket
from sfu.rtp.codecs.av1 import Descriptor, describe, sequence_size


def sequence_header(width: int, height: int, *, timing: bool = False, points: int = 1) -> bytes:
    bits = "000" + "0" + "0"
    if timing:
        bits += "1" + f"{1:032b}{30:032b}" + "1" + "010" + "1" + f"{9:05b}" + f"{7:032b}" + f"{0:010b}"
    else:
        bits += "0"
    bits += "1" + f"{points - 1:05b}"
    for _ in range(points):
        bits += f"{0:012b}" + f"{9:05b}" + "0"
        if timing:
            bits += "1" + "0" * 21
        bits += "1" + "0011"
    bits += f"{15:04b}{15:04b}{width - 1:016b}{height - 1:016b}" + "0" * 16
    bits += "0" * (-len(bits) % 8)
    return int(bits, 2).to_bytes(len(bits) // 8, "big")


HEADER = sequence_header(1280, 720)
FRAME = b"\x30frame"


def element(data: bytes) -> bytes:
    assert len(data) < 128
    return bytes([len(data)]) + data


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (b"\x10" + FRAME, Descriptor(False, 0, 0, -1, 0, True)),
        (b"\x18" + FRAME, Descriptor(True, 0, 0, -1, 0, True)),
        (b"\x90" + FRAME, Descriptor(False, 0, 0, -1, 0, False)),
        (b"\x28" + element(b"\x08" + HEADER) + FRAME, Descriptor(True, 1280, 720, -1, 0, True)),
        (b"\x00" + element(b"\x08" + HEADER) + element(FRAME), Descriptor(True, 1280, 720, -1, 0, True)),
        (b"\x20" + element(b"\x0a" + element(HEADER)) + FRAME, Descriptor(True, 1280, 720, -1, 0, True)),
        (b"\x20" + element(b"\x0c\x48" + HEADER) + FRAME, Descriptor(True, 1280, 720, 2, 1, True)),
        (b"\x10\x34\x28frame", Descriptor(False, 0, 0, 1, 1, True)),
        (b"\x30" + element(b"\x12") + element(b"\x08" + HEADER) + FRAME, Descriptor(True, 1280, 720, -1, 0, True)),
        (b"\x20" + element(b"\x12") + FRAME, Descriptor(False, 0, 0, -1, 0, True)),
        (b"\x10\x08", Descriptor(True, 0, 0, -1, 0, True)),
    ],
)
def test_descriptors(payload: bytes, expected: Descriptor) -> None:
    assert describe(payload, 0, len(payload)) == expected
    assert describe(memoryview(b"abc" + payload + b"z"), 3, 3 + len(payload)) == expected


@pytest.mark.parametrize("timing", [False, True])
@pytest.mark.parametrize("points", [1, 3, 32])
def test_sequence_headers(timing: bool, points: int) -> None:
    assert sequence_size(sequence_header(65536, 1, timing=timing, points=points)) == (65536, 1)


def test_a_recorded_sequence_header() -> None:
    assert sequence_size(bytes.fromhex("0000002d4cffb3c6af9804")) == (1280, 720)


@pytest.mark.parametrize(
    "payload",
    [b"", b"\x10", b"\x20\x05\x08", b"\x20\x80", b"\x20\x00\x08", b"\x00" + b"\xff" * 9, b"\x10\x0c", b"\x10\x0a\xff"],
)
def test_malformed(payload: bytes) -> None:
    with pytest.raises(MalformedPacket):
        describe(payload, 0, len(payload))


@given(st.binary(max_size=80))
def test_random_bytes(payload: bytes) -> None:
    for first in (b"", b"\x10\x08", b"\x00", b"\x20"):
        try:
            describe(first + payload, 0, len(first + payload))
        except MalformedPacket:
            continue


@given(st.binary(max_size=120))
def test_random_sequence_headers(data: bytes) -> None:
    try:
        sequence_size(data)
    except MalformedPacket:
        return
