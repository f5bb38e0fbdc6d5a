"""The codec lines alone; whole descriptions are in test_description.py."""

import pytest

from sfu.errors import BadRequest
from sfu.sdp.formats import FORMATTING, PER_SECTION, Codec, bounded, decimal, read_formats

LINES = (
    "a=rtpmap:96 VP8/90000",
    "a=rtcp-fb:96 nack",
    "a=rtcp-fb:* transport-cc",
    "a=rtpmap:97 rtx/90000",
    "a=fmtp:97 apt=96",
    "a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid",
)


def test_an_m_line() -> None:
    codecs, rtx, extensions = read_formats("video", ("96", "97", "98"), "\n".join(LINES))
    assert codecs == (Codec("VP8", 96, 90_000, 1, "", ("nack", "transport-cc")),)
    assert rtx == {97: 96}
    assert extensions == {"urn:ietf:params:rtp-hdrext:sdes:mid": 4}


def test_what_was_read_once_is_remembered() -> None:
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
def test_refused_every_time(line: str) -> None:
    for _ in range(2):
        with pytest.raises(BadRequest):
            read_formats("video", ("96",), line)


def test_bounds() -> None:
    bounded(PER_SECTION - 1, PER_SECTION, "things")
    with pytest.raises(BadRequest, match="more than 64 things"):
        bounded(PER_SECTION, PER_SECTION, "things")
    assert decimal("127", 127, "It") == 127
    for text in ("128", "", "+1", "1_0", " 1", "²", "9" * 21):
        with pytest.raises(BadRequest, match="It is not a number"):
            decimal(text, 127, "It")


def test_keys() -> None:
    assert {"rtpmap", "fmtp", "rtcp-fb", "extmap"} == FORMATTING
