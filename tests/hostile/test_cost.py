"""The most expensive inputs that are known, each within a bound of executed instructions (tests/support/cost.py)."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sfu.errors import MalformedPacket
from sfu.rtp.codecs import av1, h264, vp8, vp9
from tests.rtp.codecs.test_av1 import sequence_header
from tests.rtp.codecs.test_h264 import PPS, Writer, sps, stap
from tests.support.cost import PER_MICROSECOND, operations

DATA = Path(__file__).parent.parent / "data" / "hostile"
PACKET = 50 * 2 * PER_MICROSECOND
"""50 µs: what the description of one packet may cost. The machine of the benchmarks executes 200 instructions in 1 µs."""


@pytest.fixture(autouse=True)
def _nothing_is_remembered() -> Iterator[None]:
    h264.sps_size.cache_clear()
    av1.sequence_size.cache_clear()
    yield


def lists(*scales: int, count: int = 8) -> bytes:
    """A parameter set of profile 100 with `count` scaling lists."""
    writer = Writer().u(8, 100).u(16, 0x1F).ue(0, 3 if count > 8 else 1)
    if count > 8:
        writer.u(1, 0)
    writer.ue(0, 0).u(1, 0).u(1, 1)
    for index in range(count):
        writer.u(1, 1)
        for number in range(16 if index < 6 else 64):
            writer.ue(scales[number % len(scales)])
    return writer.ue(4, 2, 1).u(1, 0).ue(39, 29).u(1, 1).u(1, 1).u(1, 0).u(1, 0).done()


def cycle(count: int, offset: int) -> bytes:
    """A parameter set with picture order count type 1."""
    writer = Writer().u(8, 66).u(16, 0xC01F).ue(0, 4, 1).u(1, 0).ue(0, 0, count)
    for _ in range(count):
        writer.ue(offset)
    return writer.ue(1).u(1, 0).ue(39, 29).u(1, 1).u(1, 1).u(1, 0).u(1, 0).done()


def fragment(kind: int, unit: bytes) -> bytes:
    return bytes((0x60 | kind, 0x80 | unit[0] & 0x1F)) + b"\0\0" * (kind == 29) + unit[1:]


def vp9_structure(pictures: int) -> bytes:
    """A payload descriptor with a scalability structure of eight layers and `pictures` pictures."""
    return b"\x8a\x81\x02\xf8" + bytes(32) + bytes([pictures]) + b"\x0c\1\1\1" * pictures + b"payload"


SPS = b"\x67"
LISTS = (lists(0, 0), lists(0, 0, count=12), lists(1, 2), lists(200, 201), lists(0, 0)[:60] + b"\xff" * 80)
CYCLES = (cycle(255, 0), cycle(255, 1), cycle(255, 100_000))
H264 = [
    (DATA / "h264_stap_a_sps.bin").read_bytes(),
    *(SPS + one for one in (*LISTS, *CYCLES)),
    *(stap(*[SPS + one] * 9) for one in (*LISTS, *CYCLES)),
    stap(*[SPS + bytes([64 + n]) + lists(0, 0)[1:] for n in range(9)]),
    b"\x79\0\0" + stap(*[SPS + lists(0, 0)] * 9)[1:],
    *(fragment(kind, SPS + one) for kind in (28, 29) for one in (*LISTS, *CYCLES)),
    stap(*[b"\x09"] * 430),
    stap(*[b"\x09"] * 31, SPS + lists(0, 0)),
    stap(*[b"\x65\x88"] * 330),
    SPS + b"\0" * 1300,
    SPS + b"\xff" * 1300,
    SPS + b"\x64\0\x1f" + b"\0\0\3" * 400,
]


@pytest.mark.parametrize("payload", H264, ids=range(len(H264)))
def test_h264(payload: bytes) -> None:
    cost = operations(lambda: h264.describe(payload, 0, len(payload)), raises=MalformedPacket)
    assert 0 < cost <= PACKET


def test_many_parameter_sets_in_a_packet_give_the_size_of_the_first() -> None:
    found = stap(SPS + sps(640, 480, None), SPS + sps(1280, 720, None), PPS)
    assert h264.describe(found, 0, len(found))[:3] == (True, 640, 480)


def test_scaling_lists_that_encoders_send_leave_the_size_readable() -> None:
    """The default lists are one code each (7.3.2.1.1.1, useDefaultScalingMatrixFlag)."""
    writer = Writer().u(8, 100).u(16, 0x1F).ue(0, 1, 0, 0).u(1, 0).u(1, 1)
    for _ in range(8):
        writer.u(1, 1).ue(16)
    found = SPS + writer.ue(4, 2, 1).u(1, 0).ue(39, 29).u(1, 1).u(1, 1).u(1, 0).u(1, 0).done()
    assert h264.describe(found, 0, len(found))[:3] == (True, 640, 480)


def test_a_recorder_reads_a_parameter_set_with_all_lists() -> None:
    assert h264.sps_size(lists(1, 2)) == h264.sps_size(cycle(255, 0)) == (640, 480)


def described(codec: Callable[..., object], payload: bytes) -> int:
    return operations(lambda: codec(payload, 0, len(payload)), raises=MalformedPacket)


@pytest.mark.parametrize("pictures", [8, 255])
def test_vp9(pictures: int) -> None:
    payload = vp9_structure(pictures)
    assert 0 < described(vp9.describe, payload) <= PACKET
    assert vp9.describe(payload, 0, len(payload)).keyframe


def test_av1() -> None:
    header = b"\x08" + sequence_header(640, 480, timing=True, points=32)
    for payload in (
        b"\x10" + header,
        b"\x20\x01\x10\x08" + header,
        b"\x00" + (bytes([len(header) & 0x7F | 0x80, len(header) >> 7]) + header) * 10,
        b"\x00" + b"\x01\x10" * 600,
        b"\x10\x0a" + b"\x80" * 1300,
        b"\x10\x08" + bytes(1300),
        b"\x10\x08" + b"\xff" * 1300,
    ):
        assert 0 < described(av1.describe, payload) <= PACKET


def test_vp8() -> None:
    for payload in (b"\x90\xff\xff\xff\xff\xff" + bytes(1000), b"\xff" * 1200):
        assert 0 < described(vp8.describe, payload) <= PACKET
