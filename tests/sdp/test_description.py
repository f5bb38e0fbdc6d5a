"""SDP parser: recorded, malformed and deliberately expensive descriptions."""

import contextlib
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sfu.errors import BadRequest
from sfu.sdp import formats
from sfu.sdp.description import ANSWER_MEDIA_LIMIT, ATTRIBUTE_LIMIT, LINE_LIMIT, MEDIA_LIMIT, SDP_LIMIT, parse
from sfu.sdp.formats import Codec
from tests.sdp.samples import NAMES, offer_case, sample, section
from tests.support.cpu import attempts


@pytest.mark.parametrize("name", NAMES)
def test_recorded_descriptions_parse(name: str) -> None:
    for media in parse(sample(name)).media:
        if media.port:
            assert media.ufrag
            assert len(media.pwd) >= 22
            assert media.fingerprints
            assert media.rtcp_mux or media.kind == "application"


def test_chromium_publishing_offer() -> None:
    offer = parse(sample("pub-browser-offer.sdp"))
    assert offer.bundle == ("0", "1")
    assert offer.extmap_allow_mixed
    audio, video = offer.media
    assert (audio.kind, audio.mid, audio.direction) == ("audio", "0", "sendonly")
    assert audio.codecs[0] == Codec("opus", 111, 48000, 2, "minptime=10;useinbandfec=1", ("transport-cc",))
    assert audio.codecs[1] == Codec("red", 63, 48000, 2, "111/111", ())
    assert audio.ssrcs == (1250026626,)
    assert audio.setup == "actpass"
    assert video.codecs[0] == Codec(
        "VP8", 96, 90000, 1, "", ("goog-remb", "transport-cc", "ccm fir", "nack", "nack pli")
    )
    assert [codec.payload_type for codec in video.codecs if codec.name == "H264"] == [102, 104, 108, 114, 116, 39]
    assert video.rtx[97] == 96
    assert video.rtx[46] == 45
    assert video.extensions["urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id"] == 10
    assert video.send_rids == ("q", "h", "f")
    assert video.msid == "b002a05b-c948-4303-baed-70cc933efdf5 " + video.msid[37:]


def test_session_attributes_are_inherited() -> None:
    answer = parse(sample("firefox-sub-browser-answer.sdp"))
    assert all(media.fingerprints[0][1].startswith("A9:40:C6") for media in answer.media)


def test_data_channel_section() -> None:
    data = parse(sample("misc-pub-browser-offer.sdp")).media[2]
    assert (data.kind, data.sctp_port, data.max_message_size) == ("application", 5000, 262144)


@pytest.mark.parametrize(("port", "lines", "rejected"), [(9, "", False), (0, "", True), (0, "a=bundle-only\n", False)])
def test_port_0_means_rejected_unless_bundle_only(port: int, lines: str, rejected: bool) -> None:
    (media,) = parse(section(lines, port=port)).media
    assert media.rejected is rejected


@pytest.mark.parametrize(
    ("lines", "rids"),
    [
        ("", ()),
        ("a=rid:a send\na=rid:b recv\n", ("a",)),
        ("a=rid:a send\na=rid:b send\na=rid:c send\na=simulcast:send c;b,a\n", ("c", "b")),
        ("a=rid:x recv\na=rid:a send\na=rid:b send pt=96;max-width=9\na=simulcast:recv x send ~b;a\n", ("b", "a")),
    ],
)
def test_send_rids(lines: str, rids: tuple[str, ...]) -> None:
    (media,) = parse(section(lines)).media
    assert media.send_rids == rids


def test_feedback_for_all_payload_types() -> None:
    lines = "a=rtcp-fb:* nack\na=rtcp-fb:96 nack pli\na=rtpmap:96 VP8/90000\na=rtpmap:97 VP9/90000\n"
    (media,) = parse(section(lines)).media
    assert [codec.feedback for codec in media.codecs] == [("nack pli", "nack"), ("nack",)]


def test_carriage_returns_are_optional() -> None:
    text = sample("pub-browser-offer.sdp")
    plain = text.replace("\r\n", "\n")
    assert parse(plain) == parse(plain.replace("\n", "\r\n")) == parse(plain.removesuffix("\n"))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "begin with v=0"),
        ("v=1\n", "begin with v=0"),
        ("v=0\n" + "x" * SDP_LIMIT, "longer than"),
        ("v=0\nnonsense\n", "form x=value"),
        ("v=0\ns=\0\n", "control characters"),
        ("v=0\ns=a\rb\n", "control characters"),
        ("v=0\nm=audio\n", "fewer than three"),
        ("v=0\nm=audio x RTP 0\n", "port"),
        ("v=0\nm=audio 65536 RTP 0\n", "port"),
        ("v=0\nm=audio 9 RTP 0" + " 1" * 128 + "\n", "128 formats"),
        ("v=0\n" + "m=audio 9 RTP 0\na=mid:a\n" * 2, "same mid"),
        ("v=0\n" + "m=audio 9 RTP 0\n" * 65, "64 m-lines"),
        (section("a=rtpmap:128 VP8/90000\n"), "payload type"),
        (section("a=rtpmap:96 V P8/90000\n"), "token"),
        (section("a=rtpmap:96 VP8/x\n"), "clock rate"),
        (section("a=rtpmap:96 (VP8)/90000\n"), "token"),
        (section("a=rtpmap:-1 VP8/90000\n"), "payload type"),
        (section("a=rtpmap:٣ VP8/90000\n"), "payload type"),
        (section("a=rtpmap:97 rtx/90000\na=fmtp:97 apt=x\n"), "apt"),
        (section("a=fmtp:x y\n"), "payload type"),
        (section("a=extmap:5000 urn:x\n"), "extension"),
        (section("a=extmap:1\n"), "URI"),
        ("v=0\n" + "a=x\n" * LINE_LIMIT + "a=y\n", "lines"),
        (section("a=x\n" * ATTRIBUTE_LIMIT), "attributes"),
        (section("".join(f"a=rtpmap:96 V{n}/90000\n" for n in range(1100))), "format lines"),
        (section("a=rid:a/b send\n"), "rid"),
        (section("".join(f"a=rid:r{n} send\n" for n in range(9))), "8 rids"),
        (section("a=ssrc:x cname:y\n"), "SSRC"),
        (section("".join(f"a=ssrc:{n} cname:y\n" for n in range(65))), "64 SSRCs"),
        (section("a=ssrc-group:FID 1 x\n"), "SSRC"),
        (section("a=mid:a b\n"), "mid"),
        (section("a=mid:" + "m" * 257 + "\n"), "256 characters"),
        (section("a=ice-ufrag:a\n"), "ice-ufrag"),
        (section("a=ice-pwd:short\n"), "ice-pwd"),
        (section("a=fingerprint:sha-256 AB\n"), "fingerprint"),
        (section("a=setup:whatever\n"), "setup"),
        (section("a=sctp-port:70000\n"), "SCTP port"),
    ],
)
def test_wrong_descriptions(text: str, sentence: str) -> None:
    with pytest.raises(BadRequest, match=sentence):
        parse(text)


@pytest.mark.parametrize("lines", ["\r\n", "\n\n", " \r\n", "a=rtpmap:96 VP8/90000 \t\r\n\r\na=x \n"])
def test_blank_lines_and_trailing_blanks_are_tolerated(lines: str) -> None:
    assert parse(section(lines)).media[0].mid == "0"


def test_surplus_candidates_are_ignored() -> None:
    lines = "".join(f"a=candidate:{n} 1 udp 1 192.0.2.1 {n} typ host\n" for n in range(70))
    (media,) = parse(section(lines + "a=end-of-candidates\n")).media
    assert len(media.candidates) == 64
    assert media.candidates[0] == "0 1 udp 1 192.0.2.1 0 typ host"


@pytest.mark.parametrize(
    "line",
    [
        "m=message 9 TCP/MSRP *",
        "m=image 0 udptl t38",
        "m=text 9 RTP/AVP 98",
        "m=audio 9 TCP/MRCPv2 1",
        "m=video 9 udp mpegts",
        "m=application 9 TCP/BFCP *",
        "m=x-unknown 9 x",
    ],
)
def test_an_m_line_of_another_kind_has_no_codecs(line: str) -> None:
    odd = f"{line}\na=mid:odd\na=rtpmap:x nonsense\na=setup:active\na=rid:a/b\n"
    taken, other = parse(section("a=rtpmap:96 VP8/90000\n") + odd).media
    assert [codec.name for codec in taken.codecs] == ["VP8"]
    assert (other.codecs, other.extensions, other.streams) == ((), {}, ())


def test_invalid_payload_types_are_ignored() -> None:
    (media,) = parse(section("a=rtpmap:96 VP8/90000\n", formats="* 96 t38")).media
    assert [codec.payload_type for codec in media.codecs] == [96]


def test_m_lines_without_a_mid() -> None:
    one, two, three = parse(section("") + "m=video 0 UDP/TLS/RTP/SAVPF 0\nm=video 9 UDP/TLS/RTP/SAVPF 96\n").media
    assert (one.mid, two.mid, three.mid) == ("0", "", "")


def test_the_tagged_m_line_carries_the_transport() -> None:
    def transport_section(text: str) -> str | None:
        found = parse(text).transport_section
        return found.mid if found else None

    assert transport_section(offer_case("tagged-second")) == "1"
    assert transport_section(offer_case("first-not-taken")) == "0"
    assert transport_section(offer_case("tagged-second").replace("m=video 9", "m=video 0")) == "0"
    assert transport_section(section("").replace("m=video 9", "m=video 0")) is None


def test_session_attributes_apply_to_all_m_lines() -> None:
    text = section("a=rtpmap:96 VP8/90000\n")
    moved = [line for line in text.split("\n") if line.startswith(("a=ice", "a=fingerprint", "a=setup", "a=rtcp-mux"))]
    rest = [line for line in text.split("\n") if line not in moved]
    media = parse("\n".join([*rest[:4], *moved, "a=sendonly", "a=extmap:3 urn:x", *rest[4:]])).media[0]
    assert (media.ufrag, media.setup, media.direction, media.extensions) == (
        "abcd",
        "actpass",
        "sendonly",
        {"urn:x": 3},
    )
    assert media.has_transport
    assert media.rtcp_mux


def test_a_data_channel_of_the_drafts() -> None:
    data = parse(section("a=sctpmap:5001 webrtc-datachannel 1024\n", kind="application", formats="5001")).media[0]
    assert data.sctp_port == 5001


LARGE = ["chromium-16-cameras", "firefox-16-cameras"]


@pytest.mark.parametrize("name", LARGE)
def test_offers_of_16_cameras(name: str) -> None:
    offer = parse(offer_case(name))
    assert [media.kind for media in offer.media] == ["audio", *["video"] * 16, "application"] or offer.media[0].kind
    assert sum(media.send_rids == ("q", "h", "f") for media in offer.media) == 16
    assert all(media.codecs for media in offer.media if media.kind != "application")


HOSTILE = {
    "rtpmaps and wildcards": section(
        "".join(f"a=rtpmap:{n % 128} VP8/90000\n" for n in range(700))
        + "".join(f"a=rtcp-fb:* {n}\n" for n in range(700)),
        formats=" ".join(map(str, range(128))),
    ),
    "empty attributes": "v=0\n" + "a=\n" * 10_000,
    "feedback": "v=0\nm=video 9 x 96\na=mid:0\n" + "".join(f"a=rtcp-fb:96 {n}\n" for n in range(1_000)),
    "rid": "v=0\nm=video 9 x 96\na=mid:0\n" + "a=rid:a send\n" * 2_400 + "a=simulcast:send " + "a;" * 400 + "\n",
    "groups": "v=0\n" + "a=group:BUNDLE" + " a" * 16_000 + "\n",
    "sections": "v=0\n" + "".join(f"m=video 9 x {' '.join('96' for _ in range(100))}\na=mid:{n}\n" for n in range(64)),
    "spaces": "v=0\nm=" + " " * 32_000 + "\n",
    "parameters": section("a=rtpmap:96 H264/90000\na=fmtp:96 " + "a=b;" * 7_000 + "\n"),
    "apt": section("a=rtpmap:96 rtx/90000\na=fmtp:96 " + "apt=" * 7_000 + "\n"),
    "digits": section("a=ssrc:" + "1" * 30_000 + "\n"),
    "fingerprints": "v=0\n"
    + "".join(
        f"m=video 9 UDP/TLS/RTP/SAVPF 96\na=mid:{n}\n" + f"a=fingerprint:sha-256 {'AB:' * 31}AB\n" * 8
        for n in range(64)
    ),
    "distinct formats": section(
        "".join(f"a=rtpmap:{n} V/90000\na=fmtp:{n} apt=1\n" for n in range(128))
        + "".join(f"a=rtcp-fb:{n % 128} {n}\n" for n in range(640)),
        formats=" ".join(map(str, range(128))),
    ),
    "SSRCs": "v=0\n"
    + "".join(f"m=video 9 x 96\na=mid:{n}\n" + "".join(f"a=ssrc:{s} cname:x\n" for s in range(30)) for n in range(64)),
    "SSRC groups": "v=0\n"
    + "".join(
        f"m=video 9 x 96\na=mid:{n}\n" + f"a=ssrc-group:SIM {' '.join(map(str, range(60)))}\n" * 15 for n in range(64)
    ),
    "rids": "v=0\n"
    + "".join(
        f"m=video 9 UDP/TLS/RTP/SAVPF 96\na=mid:{n}\n"
        + "".join(f"a=rid:r{r} send pt={','.join(['96'] * 70)}\n" for r in range(8))
        + f"a=simulcast:send {';'.join(','.join(['r1'] * 8) for _ in range(8))}\n"
        for n in range(64)
    ),
    "candidates": "v=0\n"
    + "".join(f"m=video 9 x 96\na=mid:{n}\n" + "a=candidate:1 1 udp 1 192.0.2.1 1 typ host\n" * 100 for n in range(64)),
    "rejected m-lines": "v=0\n" + "".join(f"m=video 0 x 0\na=mid:{n}\n" + "a=fmtp:1 x\n" * 100 for n in range(64)),
    "BUNDLE groups": "v=0\n" + "a=group:BUNDLE a b c d\n" * 2_000,
    "trailing blanks": "v=0\n" + "s=x \n" * 8_000,
    "blanks": "v=0\ns=" + " x" * 90_000 + " \n",
    "not ASCII": "v=0\ns=" + "é" * 190_000 + "\n",
}
"""Each is close to a limit. `python -m tests.bench.parsers` prints their parsing times."""


@pytest.mark.parametrize(("answer", "limit"), [(False, MEDIA_LIMIT), (True, ANSWER_MEDIA_LIMIT)])
def test_an_answer_may_have_more_m_lines(answer: bool, limit: int) -> None:
    def lines(count: int) -> str:
        return "v=0\n" + "".join(f"m=audio 9 RTP 0\na=mid:{number}\n" for number in range(count))

    assert len(parse(lines(limit), answer=answer).media) == limit
    with pytest.raises(BadRequest, match=f"more than {limit} m-lines"):
        parse(lines(limit + 1), answer=answer)


@pytest.mark.parametrize("answer", [False, True])
@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_descriptions_are_quick(name: str, answer: bool) -> None:
    text = HOSTILE[name][:SDP_LIMIT]
    for attempt in attempts():
        formats._remembered.cache_clear()
        before = time.thread_time()
        with contextlib.suppress(BadRequest):
            parse(text, answer=answer)
        attempt.spent(time.thread_time() - before, 0.01)


LINES = sorted({line for name in NAMES for line in sample(name).split("\r\n") if line})


@given(st.lists(st.sampled_from(LINES) | st.text(max_size=30), max_size=40))
def test_shuffled_lines(lines: list[str]) -> None:
    with contextlib.suppress(BadRequest):
        parse("v=0\n" + "\n".join(lines))


@settings(max_examples=200)
@given(st.sampled_from(NAMES), st.data())
def test_mutations(name: str, data: st.DataObject) -> None:
    text = sample(name)
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(text)))
        end = data.draw(st.integers(start, min(len(text), start + 20)))
        text = text[:start] + data.draw(st.text(max_size=8)) + text[end:]
    with contextlib.suppress(BadRequest):
        parse(text)


@pytest.mark.parametrize(("name", "value"), [("rid", "r{} send"), ("ssrc-group", "FID {} 7")])
def test_expensive_lines_are_limited_per_description(name: str, value: str) -> None:
    lines = [
        f"m=video 9 x 96\na=mid:{n}\n" + "".join(f"a={name}:{value.format(k)}\n" for k in range(7)) for n in range(64)
    ]
    with pytest.raises(BadRequest, match=rf"more than \d+ {name} lines"):
        parse("v=0\n" + "".join(lines))
