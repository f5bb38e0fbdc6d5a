"""Codec choice: the publisher's preferred codec, in the profile with the widest decoder support."""

import pytest

from sfu.sdp.codec_choice import choose_codecs
from sfu.sdp.description import parse
from tests.sdp.samples import section


def h264(number: int, profile: str, mode: int) -> str:
    return (
        f"a=rtpmap:{number} H264/90000\n"
        f"a=fmtp:{number} level-asymmetry-allowed=1;packetization-mode={mode};profile-level-id={profile}\n"
    )


PHONE = h264(96, "640c1f", 1) + h264(97, "42e01f", 1)
LINES = {
    "phone": (PHONE, "96 97", 97),
    "phone, high profile only": (h264(96, "640c1f", 1), "96", 96),
    "phone, after VP8": ("a=rtpmap:98 VP8/90000\n" + PHONE, "98 96 97", 98),
    "phone, before VP8": ("a=rtpmap:98 VP8/90000\n" + PHONE, "96 97 98", 97),
    "Chromium": (
        h264(1, "42001f", 1) + h264(2, "42001f", 0) + h264(3, "42e01f", 1) + h264(4, "42e01f", 0) + h264(5, "4d001f", 1),
        "1 2 3 4 5", 3,
    ),
    "interleaved mode first": (h264(1, "42e01f", 0) + h264(2, "42e01f", 1), "1 2", 2),
    "single NAL unit mode only": (h264(1, "640c1f", 1) + h264(2, "42e01f", 0), "1 2", 2),
    "main before high": (h264(1, "64001f", 1) + h264(2, "4d001f", 1), "1 2", 2),
    "no fmtp": ("a=rtpmap:1 H264/90000\n" + h264(2, "640c1f", 1), "2 1", 1),
    "VP9 profile 2 first": (
        "a=rtpmap:1 VP9/90000\na=fmtp:1 profile-id=2\na=rtpmap:2 VP9/90000\na=fmtp:2 profile-id=0\n", "1 2", 2,
    ),
    "VP9 profile 2 only": ("a=rtpmap:1 VP9/90000\na=fmtp:1 profile-id=2\n", "1", 1),
    "VP9 without a profile": (
        "a=rtpmap:1 VP9/90000\na=fmtp:1 profile-id=2\na=rtpmap:2 VP9/90000\n", "1 2", 2,
    ),
    "AV1 profile 1 first": (
        "a=rtpmap:1 AV1/90000\na=fmtp:1 profile=1\na=rtpmap:2 AV1/90000\na=fmtp:2 level-idx=5;profile=0\n", "1 2", 2,
    ),
    "H265 first": ("a=rtpmap:1 H265/90000\na=rtpmap:2 VP9/90000\na=rtpmap:3 VP8/90000\n", "1 2 3", 2),
}  # fmt: skip


@pytest.mark.parametrize("name", LINES)
def test_profiles(name: str) -> None:
    lines, formats, expected = LINES[name]
    repairs = "a=rtpmap:120 rtx/90000\na=fmtp:120 apt=96\na=rtpmap:121 rtx/90000\na=fmtp:121 apt=97\n"
    (media,) = parse(section(lines + repairs, formats=f"{formats} 120 121")).media
    choice = choose_codecs(media)
    assert choice is not None
    assert choice.main.payload_type == expected
    assert [codec.payload_type for codec in choice.codecs] == [expected]
    assert choice.rtx == {96: ((120, 96),), 97: ((121, 97),)}.get(expected, ())


def test_a_codec_that_all_layers_may_use() -> None:
    lines = PHONE + "a=rid:q send pt=96\na=rid:h send pt=96\na=simulcast:send q;h\n"
    (media,) = parse(section(lines)).media
    choice = choose_codecs(media)
    assert choice is not None
    assert choice.main.payload_type == 96


@pytest.mark.parametrize(
    ("formats", "expected"),
    [("111 63", [111, 63]), ("63 111", [63, 111]), ("63 9 111", [63, 111]), ("112 111 63", [112])],
)
def test_red_is_accepted_only_for_the_main_codec(formats: str, expected: list[int]) -> None:
    lines = (
        "a=rtpmap:111 opus/48000/2\na=rtpmap:112 opus/48000/2\na=rtpmap:63 red/48000/2\na=fmtp:63 111/111\n"
        "a=rtpmap:9 G722/8000\n"
    )
    (media,) = parse(section(lines, kind="audio", formats=formats)).media
    choice = choose_codecs(media)
    assert choice is not None
    assert [codec.payload_type for codec in choice.codecs] == expected


def test_nothing_usable() -> None:
    (media,) = parse(section("a=rtpmap:96 H265/90000\na=rtpmap:97 red/90000\n")).media
    assert choose_codecs(media) is None
