"""RTP packets to coded frames, for every codec, with reordering, loss and malformed input."""

import contextlib
import struct

import numpy as np
import pytest
from av.video.codeccontext import VideoCodecContext
from hypothesis import given, settings
from hypothesis import strategies as st

from sfu.errors import MalformedPacket
from sfu.rtp.frames import BYTE_LIMIT, RETRANSMISSION_TIMEOUT, VIDEO_ORIENTATION_ID, CodedFrame, FrameAssembler
from sfu.sdp import capabilities
from tests.support import packetize
from tests.support.packetize import rtp

VIDEO = ("VP8", "VP9", "H264", "AV1")
DECODERS = {"VP8": "vp8", "VP9": "vp9", "H264": "h264", "AV1": "libdav1d"}


def pictures(count: int) -> list[np.ndarray]:
    noise = np.random.default_rng(3).integers(16, 235, (180 * 3 // 2, 320), dtype=np.uint8)
    return [np.roll(noise, 8 * index, axis=1) for index in range(count)]


@pytest.fixture(scope="module")
def units() -> dict[str, list[bytes]]:
    return {codec: list(packetize.encode(codec, pictures(6), gop=3)) for codec in VIDEO}


def feed(assembler: FrameAssembler, packets: list[bytes], now: float = 1.0) -> list[CodedFrame]:
    return [frame for packet in packets for frame in assembler.receive(packet, now)]


def decoded(codec: str, frames: list[CodedFrame]) -> int:
    import av

    decoder = VideoCodecContext.create(DECODERS[codec], "r")
    assert isinstance(decoder, VideoCodecContext)
    decoder.thread_count = 1
    shown = [picture for frame in frames for picture in decoder.decode(av.Packet(frame.data))]
    shown += decoder.decode(None)
    assert all((picture.width, picture.height) == (320, 180) for picture in shown)
    return len(shown)


def test_the_orientation_id_matches_the_sent_one() -> None:
    assert capabilities.OUT_EXTENSION_IDS[capabilities.URI_VIDEO_ORIENTATION] == VIDEO_ORIENTATION_ID


@pytest.mark.parametrize("codec", VIDEO)
def test_frames_are_complete_at_the_marker(codec: str, units: dict[str, list[bytes]]) -> None:
    assembler = FrameAssembler(codec)
    assert assembler.wants_keyframe
    frames = []
    for index, group in enumerate(packetize.packets(codec, units[codec])):
        assert feed(assembler, group[:-1], 1.0) == []
        (frame,) = feed(assembler, group[-1:], 2.0 + index)
        frames.append(frame)
    assert not assembler.wants_keyframe
    assert [frame.timestamp for frame in frames] == [3000 * index for index in range(6)]
    assert [frame.keyframe for frame in frames] == [True, False, False] * 2
    assert [frame.arrival for frame in frames] == [2.0 + index for index in range(6)]
    assert decoded(codec, frames) == 6
    if codec in ("VP8", "VP9"):
        assert [frame.data for frame in frames] == units[codec]


@pytest.mark.parametrize("codec", VIDEO)
def test_packets_are_reordered(codec: str, units: dict[str, list[bytes]]) -> None:
    packets = [packet for group in packetize.packets(codec, units[codec]) for packet in group]
    plain = feed(FrameAssembler(codec), packets)
    shuffled = packets[:1] + packets[1:][::-1]
    assembler = FrameAssembler(codec)
    assert feed(assembler, [*shuffled, *packets]) == plain
    assert assembler.dropped == 0


@pytest.mark.parametrize("codec", VIDEO)
def test_a_gap_waits_then_skips_to_the_next_keyframe(codec: str, units: dict[str, list[bytes]]) -> None:
    groups = packetize.packets(codec, units[codec])
    assembler = FrameAssembler(codec)
    assert len(feed(assembler, groups[0], 1.0)) == 1
    assert feed(assembler, groups[1][:-1] + groups[2], 1.0) == []
    assert not assembler.wants_keyframe
    assert assembler.handle_timer(1.0 + 0.9 * RETRANSMISSION_TIMEOUT) == []
    assert not assembler.wants_keyframe
    assert assembler.handle_timer(1.0 + 1.1 * RETRANSMISSION_TIMEOUT) == []
    assert assembler.wants_keyframe
    frames = feed(assembler, groups[3] + groups[4], 2.0)
    assert [(frame.timestamp, frame.keyframe) for frame in frames] == [(9000, True), (12000, False)]
    assert not assembler.wants_keyframe


def test_a_timely_retransmission_fills_the_gap(units: dict[str, list[bytes]]) -> None:
    groups = packetize.packets("VP8", units["VP8"])
    assembler = FrameAssembler("VP8")
    feed(assembler, groups[0], 1.0)
    feed(assembler, groups[1][1:] + groups[2], 1.03)
    frames = feed(assembler, groups[1][:1], 1.09)
    assert [frame.timestamp for frame in frames] == [3000, 6000]
    assert [frame.arrival for frame in frames] == [1.09, 1.03]
    assert assembler.handle_timer(9.0) == []
    assert not assembler.wants_keyframe


def test_a_keyframe_after_a_gap_is_used_at_once_if_a_keyframe_is_needed(units: dict[str, list[bytes]]) -> None:
    groups = packetize.packets("VP8", units["VP8"])
    assembler = FrameAssembler("VP8")
    assert feed(assembler, [*groups[1], *groups[2][1:]]) == []
    assert [frame.timestamp for frame in feed(assembler, groups[3])] == [9000]


def test_the_timer_gives_up_and_returns_complete_frames_after_the_gap(units: dict[str, list[bytes]]) -> None:
    groups = packetize.packets("H264", units["H264"])
    assembler = FrameAssembler("H264")
    feed(assembler, groups[0])
    assert feed(assembler, [*groups[2], *groups[3], *groups[4]]) == []
    assert [frame.timestamp for frame in assembler.handle_timer(2.0)] == [9000, 12000]
    assert not assembler.wants_keyframe


def test_a_frame_without_its_marker_ends_with_the_next_timestamp() -> None:
    assembler = FrameAssembler("VP8")
    key = b"\x10\x00\x00\x00\x9d\x01\x2a\x40\x01\xb4\x00data"
    assert feed(assembler, [rtp(key, 1, 0)]) == []
    (frame,) = feed(assembler, [rtp(b"\x10\x01next", 2, 3000)])
    assert (frame.timestamp, frame.data, frame.keyframe) == (0, key[1:], True)


def test_timestamps_are_unwrapped_and_padding_counts_as_received() -> None:
    assembler = FrameAssembler("VP8")
    key = b"\x10\x00key"
    padding = bytearray(rtp(bytes(3) + b"\x04", 2, 0xFFFF_FF00))
    padding[0] |= 0x20
    frames = feed(
        assembler,
        [
            rtp(key, 1, 0xFFFF_FF00, marker=True),
            bytes(padding),
            rtp(key, 3, 0x100, marker=True),
        ],
    )
    assert [frame.timestamp for frame in frames] == [0xFFFF_FF00, 0x1_0000_0100]


def test_rotation_persists_until_it_changes() -> None:
    assembler = FrameAssembler("VP8")
    key = b"\x10\x00key"
    turns = [0, 90, 0, 270]
    packets = [rtp(key, index, index, marker=True, rotation=turn) for index, turn in enumerate(turns)]
    assert [frame.rotation for frame in feed(assembler, packets)] == [0, 90, 90, 270]


SPS, PPS, IDR, SLICE = b"\x67\x42\xe0\x1f\x8c\x8d", b"\x68\xce\x3c\x80", b"\x65\x88\x84", b"\x41\x9a\x00"
ANNEX_B = b"\0\0\0\1"


def test_parameter_sets_are_kept_for_keyframes_without_them() -> None:
    assembler = FrameAssembler("H264")
    stap = b"\x78" + b"".join(struct.pack("!H", len(unit)) + unit for unit in (SPS, PPS, IDR))
    frames = feed(
        assembler,
        [
            rtp(stap, 1, 0, marker=True),
            rtp(SLICE, 2, 1, marker=True),
            rtp(IDR[:1].replace(b"\x65", b"\x7c") + b"\x85" + IDR[1:], 3, 2),
            rtp(b"\x7c\x45\x77", 4, 2, marker=True),
        ],
    )
    assert [frame.data for frame in frames] == [
        b"".join(ANNEX_B + unit for unit in (SPS, PPS, IDR)),
        ANNEX_B + SLICE,
        b"".join(ANNEX_B + unit for unit in (SPS, PPS, IDR + b"\x77")),
    ]
    assert [frame.keyframe for frame in frames] == [True, False, True]


def test_parameter_sets_alone_give_no_frame() -> None:
    assembler = FrameAssembler("H264")
    assert feed(assembler, [rtp(SPS, 1, 0), rtp(PPS, 2, 0, marker=True)]) == []
    assert assembler.wants_keyframe
    (frame,) = feed(assembler, [rtp(IDR, 3, 1, marker=True)])
    assert frame.data == b"".join(ANNEX_B + unit for unit in (SPS, PPS, IDR))


def vp9_layers() -> list[bytes]:
    return [
        rtp(b"\xac\x01\x00\x07base", 1, 0),
        rtp(b"\xac\x01\x03\x07middle", 2, 0),
        rtp(b"\xac\x01\x05\x07top", 3, 0, marker=True),
    ]


@pytest.mark.parametrize(
    ("limit", "expected"),
    [
        (0, b"base"),
        (1, b"basemiddle\xc1\x04\x06\xc1"),
        (7, b"basemiddletop\xc2\x04\x06\x03\xc2"),
    ],
)
def test_vp9_layers_above_the_limit_are_dropped(limit: int, expected: bytes) -> None:
    assembler = FrameAssembler("VP9")
    assembler.spatial_limit = limit
    assert assembler.spatial_limit == limit
    assert [frame.data for frame in feed(assembler, vp9_layers())] == [expected]


def test_av1_layers_and_unneeded_obus_are_dropped() -> None:
    base, top = b"\x34\x00base", b"\x34\x08top"
    packets = [
        rtp(b"\x28\x02\x10\x00\x06" + b"\x0c\x00head", 1, 0),  # a temporal delimiter, then a sequence header
        rtp(b"\x20\x06" + base + b"\x05" + top, 2, 0, marker=True),
    ]
    packets[0] = rtp(b"\x28\x01\x10\x0c\x00head", 1, 0)
    packets[1] = rtp(b"\x20\x06" + base + top, 2, 0, marker=True)
    assembler = FrameAssembler("AV1")
    (frame,) = feed(assembler, packets)
    assert frame.data == b"\x12\0" + b"\x0e\x00\x04head" + b"\x36\x00\x04base" + b"\x36\x08\x03top"
    assembler = FrameAssembler("AV1")
    assembler.spatial_limit = 0
    (frame,) = feed(assembler, packets)
    assert frame.data == b"\x12\0" + b"\x0e\x00\x04head" + b"\x36\x00\x04base"


def test_audio_is_returned_at_once_without_duplicates() -> None:
    assembler = FrameAssembler("opus", audio=True)
    packets = [rtp(b"one", 1, 0), rtp(b"three", 3, 1920), rtp(b"two", 2, 960), rtp(b"two", 2, 960), rtp(b"", 4, 2880)]
    frames = feed(assembler, packets)
    assert [(frame.data, frame.timestamp) for frame in frames] == [(b"one", 0), (b"three", 1920), (b"two", 960)]
    assert not assembler.wants_keyframe
    assert assembler.handle_timer(9.0) == []


def red(old: list[tuple[int, bytes]], new: bytes) -> bytes:
    heads = b"".join(
        bytes([0xEF, offset >> 6, (offset & 0x3F) << 2 | len(data) >> 8, len(data) & 0xFF]) for offset, data in old
    )
    return heads + b"\x6f" + b"".join(data for _, data in old) + new


def test_redundant_audio_replaces_lost_packets() -> None:
    assembler = FrameAssembler("red", audio=True)
    frames = feed(
        assembler,
        [
            rtp(red([(960, b"before")], b"one"), 1, 960),
            rtp(red([(1920, b"two"), (960, b"three")], b"four"), 4, 3840),
            rtp(red([(960, b"two")], b"three"), 3, 2880),
        ],
    )
    assert [(frame.data, frame.timestamp) for frame in frames] == [
        (b"one", 960), (b"two", 1920), (b"three", 2880), (b"four", 3840),
    ]  # fmt: skip


def test_restarted_audio_continues() -> None:
    assembler = FrameAssembler("opus", audio=True)
    feed(assembler, [rtp(b"x", 1, 1_000_000_000)])
    assert len(feed(assembler, [rtp(b"x", index, 960 * index) for index in range(100)])) > 30


@pytest.mark.parametrize("codec", ["opus", "red"])
def test_audio_continues_at_once_after_timestamps_step_back(codec: str) -> None:
    """Consecutive sequence numbers distinguish a clock step from late packets."""
    assembler = FrameAssembler(codec, audio=True)
    payload = red([], b"x") if codec == "red" else b"x"
    before = [rtp(payload, 65_500 + index & 0xFFFF, 960 * (index + 500)) for index in range(60)]
    after = [rtp(payload, 65_560 + index & 0xFFFF, 960 * (index + 300)) for index in range(60)]
    assert len(feed(assembler, before)) == 60
    assert [frame.timestamp for frame in feed(assembler, after)] == [960 * (index + 300) for index in range(60)]
    assert feed(assembler, after[-5:]) == []


def test_a_restarted_sender_continues() -> None:
    key = b"\x10\x00key"
    assembler = FrameAssembler("VP8")
    feed(assembler, [rtp(key, 5000, 0, marker=True)])
    assert len(feed(assembler, [rtp(key, index, index, marker=True) for index in range(100)])) > 30
    assert len(feed(assembler, [rtp(key, 30_000, 9, marker=True)])) == 1


@pytest.mark.parametrize(
    ("codec", "payloads"),
    [
        ("H264", [b"\x65\x80", b"\x7c\x05x"]),  # a fragment without its start
        ("H264", [b"\x65\x80", b"\x7c\x81x", b"\x41x"]),
        ("H264", [b"\x65\x80", b"\x1fx"]),
        ("AV1", [b"\x18\x0ahead", b"\x90tail"]),
        ("AV1", [b"\x58\x0ahead"]),
    ],
)
def test_inconsistent_frames_are_dropped(codec: str, payloads: list[bytes]) -> None:
    assembler = FrameAssembler(codec)
    last = len(payloads) - 1
    packets = [rtp(payload, index, 0, marker=index == last) for index, payload in enumerate(payloads)]
    assert feed(assembler, packets) == []
    assert assembler.dropped == 1
    assert assembler.wants_keyframe


@pytest.mark.parametrize("codec", [*VIDEO, "opus", "red"])
def test_malformed_packets_leave_the_state_unchanged(codec: str, units: dict[str, list[bytes]]) -> None:
    audio = codec not in VIDEO
    assembler = FrameAssembler(codec, audio=audio)
    for packet in (b"", b"\x80" * 11, b"\x00" * 20, rtp(b"", 1, 0)[:-1]):
        with pytest.raises(MalformedPacket):
            assembler.receive(packet, 0.0)
    if not audio:
        assert len(feed(assembler, packetize.packets(codec, units[codec])[0])) == 1


def test_unknown_codecs_are_rejected() -> None:
    with pytest.raises(ValueError, match="theora"):
        FrameAssembler("theora")


def test_memory_is_bounded() -> None:
    assembler = FrameAssembler("VP8")
    feed(assembler, [rtp(b"\x10\x00key", 0, 0)])
    body = b"\x00" + bytes(60_000)
    for sequence in range(2, 400):
        feed(assembler, [rtp(body, sequence, 0)])
        assert assembler._bytes <= BYTE_LIMIT
    assembler = FrameAssembler("VP8")
    for sequence in range(30_000):
        feed(assembler, [rtp(b"\x10\x00k" if not sequence else b"\x00x", sequence, 0)])
    assert assembler.wants_keyframe
    assert len(assembler._parts) < 5000


@given(
    st.sampled_from([*VIDEO, "opus", "red"]),
    st.lists(
        st.tuples(st.integers(0, 40), st.integers(0, 5), st.booleans(), st.binary(max_size=24), st.integers(0, 3)),
        max_size=40,
    ),
)
@settings(max_examples=300, deadline=None)
def test_anything_gives_frames_or_malformed_packet(codec: str, script: list[tuple[int, int, bool, bytes, int]]) -> None:
    assembler = FrameAssembler(codec, audio=codec not in VIDEO)
    now = 0.0
    for sequence, timestamp, marker, payload, step in script:
        now += step * 0.04
        packet = rtp(payload, sequence + 65_520, timestamp, marker=marker)
        try:
            frames = assembler.receive(packet, now)
        except MalformedPacket:
            continue
        assert all(frame.data for frame in frames)
        assert all(frame.data for frame in assembler.handle_timer(now))
    held = [*assembler._pending.values(), *assembler._parts]
    assert assembler._bytes == sum(len(packet.payload) for packet in held)


@given(st.sampled_from([*VIDEO, "opus", "red"]), st.binary(max_size=200))
def test_arbitrary_bytes(codec: str, data: bytes) -> None:
    assembler = FrameAssembler(codec, audio=codec not in VIDEO)
    with contextlib.suppress(MalformedPacket):
        assert isinstance(assembler.receive(data, 0.0), list)
