"""sfu.ingest.video: which video passes to browsers as it is, and the payloads of its pictures."""

import numpy as np
import pytest

from sfu.errors import BadRequest, MalformedPacket
from sfu.forwarding.layers import Size
from sfu.ingest.video import B_FRAMES, PROFILE, TRANSCODED, VideoFormat, picture_payloads
from sfu.rtmp.flv import Tag, TagKind
from sfu.rtp.codecs import h264
from sfu.rtp.codecs.avcc import parse_avcc
from sfu.rtp.codecs.packetizers import has_sequence_header, split_obus
from tests.support.packetize import encode
from tests.support.x264 import encode_h264

PICTURES = list(np.random.default_rng(1).integers(16, 235, (4, 96, 96), np.uint8))
SIZE = Size(96, 64)
LENGTH = 4


def header(codec: str, config: bytes) -> Tag:
    return Tag(TagKind.HEADER, codec, config)


def frame(codec: str, data: bytes, *, keyframe: bool = False) -> Tag:
    return Tag(TagKind.FRAME, codec, data, keyframe)


def prefixed(*units: bytes) -> bytes:
    return b"".join(len(unit).to_bytes(LENGTH, "big") + unit for unit in units)


@pytest.mark.parametrize("profile", ["baseline", "main", "high"])
def test_h264_that_browsers_receive_passes(profile: str) -> None:
    config, pictures = encode_h264(PICTURES, profile=profile)
    form = VideoFormat(header("H264", config))
    assert (form.passes, form.size, form.published_codec) == (True, SIZE, "H264")
    assert form.learn_size(frame("H264", pictures[0]))
    keyframe, *others = [form.packetize(frame("H264", picture)) for picture in pictures]
    assert (keyframe.keyframe, [one.keyframe for one in others]) == (True, [False] * 3)
    sets = parse_avcc(config)
    assert h264.nal_units(keyframe.payloads)[:2] == [*sets.sps, *sets.pps]
    assert not {unit[0] & 31 for one in others for unit in h264.nal_units(one.payloads)} & {7, 8, 9, 12}


@pytest.mark.parametrize(
    ("options", "warning"),
    [
        ({"profile": "high", "b_frames": 2}, B_FRAMES),
        ({"profile": "high10", "pixels": "yuv420p10le"}, PROFILE),
        ({"profile": "high422", "pixels": "yuv422p"}, PROFILE),
    ],
)
def test_other_h264_is_transcoded_with_advice(options: dict[str, object], warning: str) -> None:
    config, _ = encode_h264(PICTURES, **options)  # type: ignore[arg-type]  # rows of options
    form = VideoFormat(header("H264", config))
    assert (form.passes, form.warning, form.size, form.published_codec) == (False, warning, SIZE, "H264")


def test_the_first_b_frame_ends_passing() -> None:
    """An encoder may announce no reordering and send B-frames all the same."""
    announced, _ = encode_h264(PICTURES, profile="main")
    _, pictures = encode_h264(PICTURES, profile="main", b_frames=2)
    form = VideoFormat(header("H264", announced))
    passed = [form.packetize(frame("H264", picture)).payloads for picture in pictures]
    assert (form.passes, form.warning) == (False, B_FRAMES)
    assert [] in passed


def test_delimiters_filler_and_repeated_parameter_sets_are_dropped() -> None:
    config, pictures = encode_h264(PICTURES)
    form = VideoFormat(header("H264", config))
    sets = parse_avcc(config)
    padded = (
        prefixed(b"\x09\xf0", *sets.sps, *sets.pps) + pictures[0] + prefixed(b"\x0c" + bytes(40), b"\x1f" + bytes(4))
    )
    assert form.packetize(frame("H264", padded)) == form.packetize(frame("H264", pictures[0]))


@pytest.mark.parametrize("codec", TRANSCODED)
def test_codecs_of_cameras_are_published_as_h264(codec: str) -> None:
    form = VideoFormat(header(codec, b"anything"), SIZE)
    assert (form.passes, form.published_codec, form.size) == (False, "H264", SIZE)
    assert form.warning.startswith(f"The camera sends {codec},")
    assert not VideoFormat(header(codec, b"")).learn_size(frame(codec, b"", keyframe=True))


def test_vp9_states_its_size_in_the_first_keyframe() -> None:
    units = list(encode("VP9", PICTURES))
    form = VideoFormat(header("VP9", b""))
    assert form.passes
    assert not form.learn_size(frame("VP9", units[1]))
    assert form.learn_size(frame("VP9", units[0], keyframe=True))
    assert form.size == SIZE
    numbers = [
        form.packetize(frame("VP9", unit, keyframe=not index)).payloads[0][1:3] for index, unit in enumerate(units)
    ]
    assert len(set(numbers)) == len(units)  # picture ids


def test_av1_keyframes_get_the_sequence_header_of_the_configuration() -> None:
    unit = next(encode("AV1", PICTURES))
    sequence, *others = [obu for obu in split_obus(unit) if obu[0] >> 3 & 15 != 2]
    assert has_sequence_header([sequence])
    sized = bytes([sequence[0] | 2, len(sequence) - 1]) + sequence[1:]
    form = VideoFormat(header("AV1", b"\x81\0\0\0" + sized))
    assert form.learn_size(frame("AV1", unit, keyframe=True))
    assert form.size == SIZE
    bare = b"".join(bytes([obu[0] | 2]) + _leb128(len(obu) - 1) + obu[1:] for obu in others)
    for data in (unit, bare):
        payload = form.packetize(frame("AV1", data, keyframe=True)).payloads[0]
        assert payload.count(sequence[1:]) == 1
    assert sequence[1:] not in form.packetize(frame("AV1", bare)).payloads[0]


def _leb128(value: int) -> bytes:
    return bytes([value & 0x7F | 0x80, value >> 7]) if value > 127 else bytes([value])


@pytest.mark.parametrize("config", [b"", b"\1", b"\1d\0\x1f\xff\xe1\0\3gab\1\0\2hc", b"\2" + bytes(40)])
def test_a_damaged_configuration_is_malformed(config: bytes) -> None:
    with pytest.raises((MalformedPacket, BadRequest)):
        VideoFormat(header("H264", config))


def test_a_damaged_picture_is_malformed() -> None:
    config, pictures = encode_h264(PICTURES)
    with pytest.raises(MalformedPacket):
        VideoFormat(header("H264", config)).packetize(frame("H264", pictures[0][:-1]))


def test_payloads_of_the_transcoders_pictures() -> None:
    config, pictures = encode_h264(PICTURES)
    sets = parse_avcc(config)
    assert h264.nal_units(list(picture_payloads(config, pictures[0])))[:2] == [*sets.sps, *sets.pps]
    assert {unit[0] & 31 for unit in h264.nal_units(list(picture_payloads(b"", pictures[1])))} == {1}
    for damaged in ((b"\1", pictures[0]), (config, pictures[0][:-1])):
        with pytest.raises(MalformedPacket):
            list(picture_payloads(*damaged))
