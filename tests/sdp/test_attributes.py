"""Single attributes of SDP. Malformed ones: test_description.py."""

import pytest

from sfu.errors import BadRequest
from sfu.sdp.attributes import Attributes, find_attributes, read_attributes, read_media_line

DIGEST = ":".join(["ab"] * 32)


@pytest.mark.parametrize(
    ("line", "name", "value"),
    [
        ("mid:v1", "mid", "v1"),
        ("sendonly", "direction", "sendonly"),
        ("msid:stream track", "msid", "stream track"),
        ("ice-ufrag:abcd", "ufrag", "abcd"),
        ("ice-pwd:" + "p" * 22, "pwd", "p" * 22),
        (f"fingerprint:SHA-256 {DIGEST}", "fingerprints", [("sha-256", DIGEST.upper())]),
        ("setup:actpass", "setup", "actpass"),
        ("sctp-port:5000", "sctp_port", 5000),
        ("sctpmap:5000 webrtc-datachannel 1024", "sctp_port", 5000),
        ("max-message-size:262144", "max_message_size", 262_144),
        ("group:BUNDLE 0 1", "bundle", ("0", "1")),
        ("group:LS 0 1", "bundle", ()),
        ("ssrc:11 cname:a", "ssrcs", {11: None}),
        ("ssrc-group:FID 11 12", "groups", [("FID", (11, 12))]),
        ("ssrc-group:OTHER 11 12", "groups", []),
        ("simulcast:send q;h;f", "simulcast", "send q;h;f"),
        ("rtcp-mux", "flags", {"rtcp-mux"}),
        ("unknown:value", "flags", set[str]()),
        ("rtpmap:96 VP8/90000", "flags", set[str]()),
    ],
)
def test_attributes(line: str, name: str, value: object) -> None:
    attributes = Attributes()
    read_attributes(attributes, find_attributes(f"\na={line}"))
    assert getattr(attributes, name) == value


def test_ssrcs_are_listed_once_and_the_first_simulcast_group_counts() -> None:
    attributes = Attributes()
    lines = "\na=ssrc:11 cname:a\na=ssrc:11 msid:b\na=ssrc-group:SIM 11 12\na=ssrc-group:SIM 13 14"
    read_attributes(attributes, find_attributes(lines))
    assert (list(attributes.ssrcs), attributes.groups) == ([11], [("SIM", (11, 12))])


def test_two_simulcast_lines_are_refused() -> None:
    with pytest.raises(BadRequest, match="two simulcast lines"):
        read_attributes(Attributes(), [("simulcast", "send q"), ("simulcast", "send h")])


@pytest.mark.parametrize(
    ("line", "known"),
    [
        ("audio 9 UDP/TLS/RTP/SAVPF 111", True),
        ("video 9 RTP/AVP 96", True),
        ("video 9 RTP/OTHER 96", False),
        ("application 9 UDP/DTLS/SCTP webrtc-datachannel", True),
        ("application 9 TCP/DTLS/SCTP webrtc-datachannel", True),
        ("application 9 UDP/TLS/RTP/SAVPF 111", False),
        ("text 9 UDP/TLS/RTP/SAVPF 111", False),
    ],
)
def test_media_lines(line: str, known: bool) -> None:
    attributes = read_media_line(line)
    kind, _, protocol, *formats = line.split()
    assert (attributes.kind, attributes.port, attributes.protocol) == (kind, 9, protocol)
    assert attributes.formats == tuple(formats)
    assert attributes.known is known
