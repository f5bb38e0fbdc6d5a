"""Codec names, identifying parameters, and the payload type table."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sfu.errors import AtCapacity
from sfu.sdp.capabilities import (
    OFFERED_EXTENSIONS,
    OUT_EXTENSION_IDS,
    URI_AUDIO_LEVEL,
    URI_MID,
    URI_RID,
    URI_VIDEO_ORIENTATION,
    PayloadTypeTable,
    canonical_codec,
    h264_profile,
    identifying_parameters,
    is_stereo,
    opus_answer_parameters,
)

H264 = "level-asymmetry-allowed=1;packetization-mode={};profile-level-id={}"


@pytest.mark.parametrize(
    ("kind", "name", "expected"),
    [
        ("audio", "OPUS", "opus"),
        ("audio", "red", "red"),
        ("video", "red", None),
        ("video", "vp8", "VP8"),
        ("video", "H264", "H264"),
        ("audio", "VP8", None),
        ("video", "ulpfec", None),
        ("application", "VP8", None),
    ],
)
def test_canonical_codec(kind: str, name: str, expected: str | None) -> None:
    assert canonical_codec(kind, name) == expected


@pytest.mark.parametrize(
    ("name", "parameters", "expected"),
    [
        ("VP8", "max-fs=12288;max-fr=60", ""),
        ("VP9", "", "profile-id=0"),
        ("VP9", "profile-id=2", "profile-id=2"),
        ("VP9", "profile-id=<script>", "profile-id=0"),
        ("AV1", "level-idx=9;profile=1;tier=1", "level-idx=5;profile=1;tier=0"),
        ("H264", "profile-level-id=42E01F;packetization-mode=1", H264.format(1, "42e01f")),
        ("H264", "", H264.format(0, "42e01f")),
        ("H264", "profile-level-id=zzzzzz;packetization-mode=7", H264.format(0, "42e01f")),
        ("opus", "minptime=20;useinbandfec=0;cbr=1", "minptime=10;useinbandfec=1"),
        ("opus", "stereo=1", "minptime=10;useinbandfec=1;sprop-stereo=1"),
        ("red", "1/2/3", "111/111"),
        ("red", "110/110", "110/110"),
    ],
)
def test_identifying_parameters(name: str, parameters: str, expected: str) -> None:
    assert identifying_parameters(name, parameters) == expected
    assert identifying_parameters(name, expected) == expected


@given(st.sampled_from(["VP8", "VP9", "H264", "AV1", "opus", "red"]), st.text(max_size=60))
def test_unexpected_parameters_are_removed(name: str, parameters: str) -> None:
    assert len(identifying_parameters(name, parameters)) < 80
    assert identifying_parameters(name, parameters).isascii()


def test_payload_types_are_stable() -> None:
    table = PayloadTypeTable()
    assert table.assign("opus", "anything", False) == (111, None)
    assert table.assign("red", "", True) == (63, None)
    assert table.assign("opus", "sprop-stereo=1", False) == (110, None)
    assert table.assign("red", "110/110", False) == (62, None)
    vp8 = table.assign("VP8", "", True)
    high = table.assign("H264", H264.format(1, "640032"), True)
    base = table.assign("H264", H264.format(1, "42e01f"), False)
    assert vp8 == (96, 97)
    assert high == (98, 99)
    assert base == (100, None)
    assert table.assign("VP8", "max-fs=1", True) == vp8
    assert table.assign("H264", H264.format(1, "42E01F"), True) == (100, 101)
    assert table.assign("H264", H264.format(1, "42e01f"), False) == base


def test_too_many_payload_types_raise_at_capacity() -> None:
    table = PayloadTypeTable()
    seen = [table.assign("H264", H264.format(1, f"{number:06x}"), False)[0] for number in range(57)]
    with pytest.raises(AtCapacity):
        table.assign("VP8", "", False)
    assert len(seen) == len(set(seen)) == 57
    assert seen == [*range(96, 110), *range(112, 128), *range(35, 62)]


@pytest.mark.parametrize(
    ("value", "rank"),
    [
        ("42e01f", 0), ("42C01F", 0), ("42f00b", 0), ("4d801f", 0), ("58c01f", 0), ("42001f", 1), ("", 1), ("zz", 1),
        ("4d001f", 2), ("640c1f", 3), ("64001f", 3), ("58001f", 3), ("f4001f", 3),
    ],
)  # fmt: skip
def test_h264_profiles(value: str, rank: int) -> None:
    assert h264_profile(value) == rank


@pytest.mark.parametrize(
    ("offered", "stereo", "answered"),
    [
        ("minptime=10;useinbandfec=1", False, "minptime=10;useinbandfec=1"),
        ("minptime=10;useinbandfec=1", True, "minptime=10;useinbandfec=1;stereo=1"),
        ("stereo=1;sprop-stereo=1;maxaveragebitrate=128000", True, "maxaveragebitrate=128000;stereo=1"),
        ("usedtx=1; cbr=1;stereo=0", True, "usedtx=1;cbr=1;stereo=1"),
        ("", False, ""),
        ("", True, "stereo=1"),
    ],
)
def test_opus_answer_parameters(offered: str, stereo: bool, answered: str) -> None:
    assert opus_answer_parameters(offered, stereo=stereo) == answered
    assert is_stereo(answered) is stereo


def test_extension_tables() -> None:
    assert sorted(OUT_EXTENSION_IDS.values()) == list(range(1, 14))
    for kind, (there, elsewhere) in {
        "audio": (URI_AUDIO_LEVEL, URI_VIDEO_ORIENTATION),
        "video": (URI_VIDEO_ORIENTATION, URI_AUDIO_LEVEL),
    }.items():
        offered = dict(OFFERED_EXTENSIONS[kind])
        assert {URI_MID, there} <= set(offered)
        assert not {elsewhere, URI_RID} & set(offered)
        assert all(OUT_EXTENSION_IDS[uri] == number for uri, number in offered.items())
