"""The most expensive inputs that are known, each within a bound of executed instructions (tests/support/cost.py)."""

from collections.abc import Callable
from pathlib import Path
from struct import pack

import pytest

from sfu.errors import MalformedPacket
from sfu.forwarding.rtcp_budget import REPAIR, SHARE
from sfu.rtp import rtcp
from sfu.rtp.codecs import av1, h264, vp9
from sfu.rtp.codecs import vp8 as vp8_codec
from tests.rtp.codecs.test_av1 import sequence_header
from tests.rtp.codecs.test_h264 import PPS, Writer, sps, stap
from tests.support.cost import PER_MICROSECOND, operations
from tests.support.watched import SENT, Viewer

DATA = Path(__file__).parent.parent / "data" / "hostile"
PACKET = 50 * 2 * PER_MICROSECOND
"""50 µs: what the description of one packet may cost. The machine of the benchmarks executes 200 instructions in 1 µs."""


@pytest.fixture(autouse=True)
def _nothing_is_remembered() -> None:
    h264.sps_size.cache_clear()
    av1.sequence_size.cache_clear()


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
        assert 0 < described(vp8_codec.describe, payload) <= PACKET


# -- RTCP ---------------------------------------------------------------------------------------------------------------

MOST = 2_000 * 2 * PER_MICROSECOND
"""2 ms: what any datagram may cost."""


def packet(kind: int, count: int, body: bytes) -> bytes:
    body += bytes(-len(body) % 4)
    return pack("!BBH", 0x80 | count, kind, len(body) // 4) + body


def feedback(base: int, count: int, chunks: list[int], deltas: bytes = b"") -> bytes:
    body = pack(f"!IIHHI{len(chunks)}H", 1, 7_000_000, base & 0xFFFF, count, 0, *chunks) + deltas
    return packet(205, 15, body)


def nack(down_track: int, first: int, blocks: int) -> bytes:
    named = [word for number in range(blocks) for word in (first + 17 * number & 0xFFFF, 0xFFFF)]
    return packet(205, 1, pack(f"!II{2 * blocks}H", 1, 7_000_000 + down_track, *named))


def filled(one: bytes) -> bytes:
    return one * (1176 // len(one))


MIXED = [0xAAAA] * 293
LARGE = [0xE400] * 250
COMPOUNDS = {
    "49 feedbacks about 8,191 packets each": (DATA / "twcc_compound.bin").read_bytes(),
    "a feedback about lost packets": feedback(SENT - 4000, 4000, [4000]),
    "feedbacks about lost packets": filled(feedback(SENT - 1000, 1000, [1000])),
    "feedbacks about the same packets": filled(feedback(SENT - 300, 300, [300])),
    "a feedback of which half arrived": feedback(SENT - 800, 800, MIXED[:58], bytes(400)),
    "a feedback with large deltas": feedback(SENT - 1000, 1000, LARGE[:150], bytes(700)),
    "many small feedbacks": b"".join([feedback(SENT - 900 + 28 * n, 28, MIXED[:2], bytes(14)) for n in range(30)]),
    "a feedback about 65,535 packets": filled(feedback(0, 65_535, [8191] * 9)),
    "a NACK of 290 blocks": nack(0, 500, 288),
    "NACKs of all streams": b"".join([nack(down_track, 1600, 60) for down_track in range(4)]),
    "NACKs of one block": b"".join([nack(number % 4, 1900 + 17 * (number // 4), 1) for number in range(73)]),
    "keyframe requests": filled(rtcp.encode_pli(1, 7_000_000)),
    "a FIR with 144 entries": packet(206, 4, pack("!II", 1, 0) + pack("!IBxxx", 7_000_000, 1) * 144),
    "144 streams in a FIR": packet(206, 4, pack("!II", 1, 0) + b"".join([pack("!II", n, 0) for n in range(144)])),
    "a REMB with 255 SSRCs": rtcp.encode_remb(1, 500_000, range(255)),
    "REMBs": filled(rtcp.encode_remb(1, 500_000, [1])),
    "report blocks": filled(packet(201, 31, pack("!I", 1) + pack("!IIIIII", 7_000_000, 1, 1, 1, 1, 1) * 31)),
    "empty reports": filled(packet(201, 0, pack("!I", 1))),
    "sender reports": filled(packet(200, 0, bytes(24))),
    "BYEs": filled(packet(203, 31, bytes(124))),
    "source descriptions": filled(packet(202, 0, b"")),
    "empty source descriptions and APPs": filled(packet(202, 31, bytes(4)) + packet(204, 0, bytes(8))),
    "extended reports with empty blocks": packet(207, 0, pack("!I", 1) + pack("!BxH", 77, 0) * 290),
    "echoes": packet(207, 0, pack("!IBxH", 1, 5, 288) + pack("!III", 1, 1, 1) * 96),
    "reference times": packet(207, 0, pack("!I", 1) + pack("!BxHQ", 4, 2, 1) * 96),
    "RFC 8888 feedback": packet(205, 11, pack("!II", 1, 7_000_000) + pack("!HH", 0, 500) + bytes(1000)),
}


@pytest.fixture(scope="module")
def viewer() -> Viewer:
    return Viewer()


@pytest.mark.parametrize("name", COMPOUNDS)
def test_rtcp(viewer: Viewer, name: str) -> None:
    viewer.bench.now += 1
    viewer.wire.take()
    assert 0 < viewer.hear(COMPOUNDS[name]) <= MOST
    assert len(viewer.wire.take()) <= SHARE / REPAIR


def test_honest_feedback_is_read_after_hostile_feedback() -> None:
    viewer = Viewer()
    downlink = viewer.peer.downlink
    assert downlink is not None
    for _ in range(3):
        viewer.bench.now += 1
        viewer.hear(COMPOUNDS["49 feedbacks about 8,191 packets each"])
    assert downlink.estimator.feedbacks == 0
    viewer.hear(feedback(SENT - 100, 100, [0x2000 | 100], bytes(100)))
    assert downlink.estimator.feedbacks == 1
    assert viewer.bench.engine.dropped["rtcp_work"] == 3


def test_a_lossy_second_is_reported_in_one_feedback() -> None:
    """After an outage, a feedback speaks of all packets of that time."""
    viewer = Viewer()
    downlink = viewer.peer.downlink
    assert downlink is not None
    viewer.hear(feedback(SENT - 3000, 3000, [2990, 0x2000 | 10], bytes(10)))
    assert downlink.estimator.feedbacks == 1


def test_the_cost_of_rtcp_does_not_depend_on_the_streams_of_a_peer() -> None:
    costs = []
    for down_tracks in (1, 50):
        viewer = Viewer(down_tracks)
        names = ["a NACK of 290 blocks", "keyframe requests", "feedbacks about lost packets", "report blocks"]
        total = 0
        for _ in range(200):
            viewer.bench.now += 0.005
            total += sum(viewer.hear(COMPOUNDS[name]) for name in names)
        assert viewer.bench.engine.dropped["rtcp_rate"] > 100
        costs.append(total / 1e6 / (2 * PER_MICROSECOND))
    assert max(costs) < 0.1, "a peer took more than a tenth of the loop"
