"""Codec and extension lines. Complete descriptions: test_description.py."""

import pytest

from sfu.errors import BadRequest
from sfu.sdp.formats import DISTINCT_LIMIT, SECTION_LIMIT, Codec, FormatReader, Formats, check_limit, decimal

LINES = (
    "a=rtpmap:96 VP8/90000",
    "a=rtcp-fb:96 nack",
    "a=rtcp-fb:* transport-cc",
    "a=rtpmap:97 rtx/90000",
    "a=fmtp:97 apt=96",
    "a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid",
)


def read_formats(kind: str, formats: tuple[str, ...], lines: str) -> Formats:
    return FormatReader().read(kind, formats, f"\n{lines}")


def test_an_m_line() -> None:
    codecs, rtx, extensions = read_formats("video", ("96", "97", "98"), "\n".join(LINES))
    assert codecs == (Codec("VP8", 96, 90_000, 1, "", ("nack", "transport-cc")),)
    assert rtx == {97: 96}
    assert extensions == {"urn:ietf:params:rtp-hdrext:sdes:mid": 4}


def test_results_are_cached() -> None:
    assert read_formats("video", ("96",), "\n".join(LINES)) is read_formats("video", ("96",), "\n".join(LINES))
    assert read_formats("video", ("97",), "\n".join(LINES)) != read_formats("video", ("96",), "\n".join(LINES))


def test_nothing_at_all() -> None:
    assert read_formats("application", ("webrtc-datachannel",), "") == ((), {}, {})


@pytest.mark.parametrize(
    "line",
    [
        "a=rtpmap:128 VP8/90000",
        "a=rtpmap:96 V P/90000",
        "a=fmtp:x apt=96",
        "a=rtcp-fb:-1 nack",
        "a=extmap:1",
        "a=extmap:5000 urn:x",
    ],
)
def test_malformed_lines_are_rejected_every_time(line: str) -> None:
    for _ in range(2):
        with pytest.raises(BadRequest):
            read_formats("video", ("96",), line)


def test_bounds() -> None:
    check_limit(SECTION_LIMIT - 1, SECTION_LIMIT, "things")
    with pytest.raises(BadRequest, match="more than 64 things"):
        check_limit(SECTION_LIMIT, SECTION_LIMIT, "things")
    assert decimal("127", 127, "It") == 127
    for text in ("128", "", "+1", "1_0", " 1", "²", "9" * 21):
        with pytest.raises(BadRequest, match="It is not a number"):
            decimal(text, 127, "It")


def test_other_lines_are_ignored() -> None:
    assert read_formats("video", ("96",), "a=ssrc:x\na=rtpmapx:1\nb=rtpmap:x\na=extmap-allow-mixed") == ((), {}, {})


def test_equal_m_lines_are_parsed_once_and_distinct_ones_are_bounded() -> None:
    reader = FormatReader()
    lines = "".join(f"\na=rtpmap:{number} V/90000" for number in range(100))
    for _ in range(100):
        reader.read("video", ("96",), lines)
    for number in range(8):
        reader.read("video", ("96",), f"{lines}\na=fmtp:96 {number}")
    with pytest.raises(BadRequest, match=f"more than {DISTINCT_LIMIT}"):
        reader.read("video", ("97",), f"{lines}\na=fmtp:96 9\n{lines}")


def test_long_sets_are_not_cached() -> None:
    lines = f"a=fmtp:96 {'x' * 20_000}\na=rtpmap:96 VP8/90000"
    first, second = (read_formats("video", ("96",), lines) for _ in range(2))
    assert first == second
    assert first is not second
