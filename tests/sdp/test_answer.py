"""Answers to publishers, based on recorded offers of browsers and aiortc."""

from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sfu.errors import BadRequest
from sfu.sdp.answer import START_BITRATE, Answer, ReceivedTrack, accept_offer, answer_offer, write_answer
from sfu.sdp.capabilities import URI_MID, URI_REPAIRED_RID, URI_RID
from sfu.sdp.description import parse
from tests.sdp.samples import LOCAL, OFFERS, offer_case, sample, section


def answer(text: str, setup: Literal["active", "passive"] | None = None) -> Answer:
    return answer_offer(parse(text), LOCAL, session_id=7, session_version=2, setup=setup)


def only_track(text: str) -> ReceivedTrack:
    (track,) = answer(text).tracks
    return track


@pytest.mark.parametrize("name", OFFERS)
def test_recorded_offers(name: str) -> None:
    offer = parse(sample(name))
    made = answer(sample(name))
    assert made == answer_offer(sample(name), LOCAL, session_id=7, session_version=2)
    mirrored = parse(made.sdp)
    assert mirrored.ice_lite
    assert [(media.kind, media.mid) for media in mirrored.media] == [(m.kind, m.mid) for m in offer.media]
    assert mirrored.bundle == tuple(media.mid for media in mirrored.media if not media.rejected)
    assert (made.ufrag, made.pwd) == (offer.media[0].ufrag, offer.media[0].pwd)
    for theirs, ours in zip(offer.media, mirrored.media, strict=True):
        assert set(ours.extensions.items()) <= set(theirs.extensions.items())
        assert ours.setup == made.setup == "passive"
        if ours.kind != "application":
            sending = theirs.direction in ("sendonly", "sendrecv")
            assert ours.direction == ("recvonly" if sending else "inactive")
            offered = {(codec.name, codec.payload_type, codec.parameters) for codec in theirs.codecs}
            hint = START_BITRATE if ours.kind == "video" else ""
            assert all(codec.parameters.endswith(hint) for codec in ours.codecs)
            kept = {(c.name, c.payload_type, c.parameters.removesuffix(hint).removesuffix(";")) for c in ours.codecs}
            assert kept <= offered or all("stereo=1" in parameters for _, _, parameters in kept - offered)
            assert set(ours.rtx.items()) <= set(theirs.rtx.items())
            assert {codec.name for codec in ours.codecs} <= ({"opus", "red"} if ours.kind == "audio" else {"VP8"})


def test_chromium_simulcast() -> None:
    made = answer(sample("pub-browser-offer.sdp"))
    audio, video = made.tracks
    assert audio.payload_types == {111: "opus", 63: "red"}
    assert audio.ssrcs == ((1250026626, None),)
    assert (video.codec.name, video.payload_types, video.rtx) == ("VP8", {96: "VP8"}, {97: 96})
    assert video.rids == ("q", "h", "f")
    assert {URI_MID: 4, URI_RID: 10, URI_REPAIRED_RID: 11}.items() <= video.extensions.items()
    assert "a=rid:q recv\r\na=rid:h recv\r\na=rid:f recv\r\na=simulcast:recv q;h;f\r\n" in made.sdp
    assert "m=video 9 UDP/TLS/RTP/SAVPF 96 97\r\n" in made.sdp
    assert made.sdp.count("a=candidate:") == len(LOCAL.candidates)
    assert made.data is None


def test_data_channels() -> None:
    made = answer(sample("misc-pub-browser-offer.sdp"))
    assert made.data is not None
    assert (made.data.mid, made.data.sctp_port, made.data.max_message_size) == ("2", 5000, 262144)
    assert "a=sctp-port:5000\r\na=max-message-size:64000\r\n" in made.sdp


def test_declared_streams_of_an_aiortc_peer() -> None:
    video = answer(sample("misc-botpub-browser-offer.sdp")).tracks[1]
    assert video.ssrcs == ((3497985936, 511344436),)
    assert video.rids == ()


VP8_AND_H264 = "a=rtpmap:96 VP8/90000\na=rtpmap:97 H264/90000\na=rtpmap:98 rtx/90000\na=fmtp:98 apt=97\n"


@pytest.mark.parametrize(
    ("formats", "lines", "codec", "rtx"),
    [
        ("96 97 98", VP8_AND_H264, "VP8", {}),
        ("97 96 98", VP8_AND_H264, "H264", {98: 97}),
        ("100 101 96", "a=rtpmap:100 red/90000\na=rtpmap:101 ulpfec/90000\na=rtpmap:96 vp9/90000\n", "VP9", {}),
        ("45 96", "a=rtpmap:45 H265/90000\na=rtpmap:96 AV1/90000\n", "AV1", {}),
    ],
)
def test_first_supported_codec_is_kept(formats: str, lines: str, codec: str, rtx: dict[int, int]) -> None:
    track = only_track(section(lines, formats=formats))
    assert track.codec.name == codec
    assert list(track.payload_types.values()) == [codec]
    assert track.rtx == rtx


@pytest.mark.parametrize(
    ("formats", "red", "expected"),
    [
        ("111 63", "a=fmtp:63 111/111\n", "111 63"),
        ("63 111", "a=fmtp:63 111/111\n", "63 111"),
        ("63 111", "", "63 111"),
        ("63 111", "a=fmtp:63 0/0\n", "111"),
    ],
)
def test_red_keeps_its_place(formats: str, red: str, expected: str) -> None:
    lines = "a=rtpmap:111 opus/48000/2\na=rtpmap:63 red/48000/2\n" + red
    made = answer(section(lines, kind="audio", formats=formats))
    assert f"m=audio 9 UDP/TLS/RTP/SAVPF {expected}\r\n" in made.sdp
    assert made.tracks[0].codec.name == "opus"


@pytest.mark.parametrize(
    "lines",
    [
        "a=rtpmap:96 H265/90000\n",
        "a=rtpmap:96 VP8/1000\n",
        "a=rtpmap:96 H264/90000\na=fmtp:96 " + "x" * 600 + "\n",
        "",
    ],
)
def test_an_m_line_without_a_usable_codec_is_rejected(lines: str) -> None:
    made = answer(section(lines))
    assert made.tracks == ()
    assert "m=video 0 UDP/TLS/RTP/SAVPF 96\r\n" in made.sdp
    assert "BUNDLE" not in made.sdp


@pytest.mark.parametrize("direction", ["recvonly", "inactive"])
def test_m_lines_that_do_not_send_are_inactive(direction: str) -> None:
    made = answer(section(f"a={direction}\na=rtpmap:96 VP8/90000\na=rid:a send\n"))
    assert made.tracks == ()
    (media,) = parse(made.sdp).media
    assert media.direction == "inactive"
    assert not media.rejected


def test_rejected_and_unbundled_m_lines() -> None:
    text = sample("rej.sdp")
    assert parse(answer(text).sdp).media[1].rejected
    unbundled = sample("pub-browser-offer.sdp").replace("a=group:BUNDLE 0 1", "a=group:BUNDLE 0")
    assert [media.rejected for media in parse(answer(unbundled).sdp).media] == [False, True]
    assert [track.mid for track in answer(unbundled.replace("a=group:BUNDLE 0\r\n", "")).tracks] == ["0"]


@pytest.mark.parametrize(
    ("theirs", "requested", "ours"),
    [
        ("actpass", None, "passive"),
        ("actpass", "active", "active"),
        ("active", "active", "passive"),
        ("passive", "passive", "active"),
    ],
)
def test_roles(theirs: str, requested: Literal["active", "passive"] | None, ours: str) -> None:
    made = answer(section(f"a=setup:{theirs}\na=rtpmap:96 VP8/90000\n"), requested)
    assert made.setup == ours
    assert f"a=setup:{ours}\r\n" in made.sdp


@pytest.mark.parametrize(
    ("removed", "added", "sentence"),
    [
        ("a=ice-ufrag:abcd\n", "", "credentials"),
        ("a=rtcp-mux\n", "", "a=rtcp-mux"),
        ("a=fingerprint:sha-256 " + ":".join(["AB"] * 32) + "\n", "", "fingerprint"),
        ("a=setup:actpass\n", "a=setup:holdconn\n", "holdconn"),
        ("s=-\n", "a=ice-lite\n", "ICE-lite"),
    ],
)
def test_offers_that_cannot_be_answered(removed: str, added: str, sentence: str) -> None:
    text = section("a=rtpmap:96 VP8/90000\n")
    assert removed in text
    with pytest.raises(BadRequest, match=sentence):
        answer(text.replace(removed, added))


BOTH = [("0", "opus"), ("1", "VP8")]


@pytest.mark.parametrize(
    ("name", "tracks", "group", "rejected"),
    [
        ("blank-line-at-end", BOTH, ("0", "1"), []),
        ("bundle-only-without-rtcp-mux", BOTH, ("0", "1"), []),
        ("subsequent-offer-rfc8843", BOTH, ("0", "1"), []),
        ("candidates-65", BOTH, ("0", "1"), []),
        ("tagged-second", BOTH, ("1", "0"), []),
        ("first-not-taken", [("1", "VP8")], ("1",), ["audio"]),
        ("message-m-line", BOTH, ("0", "1"), ["message", "image"]),
        ("rejected-without-mid", BOTH, ("0", "1"), ["video"]),
        (
            "mid-uuid",
            [("0", "opus"), ("123e4567-e89b-12d3-a456-426614174000", "VP8")],
            ("0", "123e4567-e89b-12d3-a456-426614174000"),
            [],
        ),
    ],
)
@pytest.mark.parametrize("ends", ["\r\n", "\n"])
def test_offers_of_real_clients(
    name: str, tracks: list[tuple[str, str]], group: tuple[str, ...], rejected: list[str], ends: str
) -> None:
    offer = offer_case(name).replace("\r\n", ends)
    made = answer(offer)
    assert [(track.mid, track.codec.name) for track in made.tracks] == tracks
    assert (made.ufrag, made.pwd, len(made.fingerprints)) == ("abcd", "abcdefghijklmnopqrstuvwx", 1)
    read_back = parse(made.sdp, answer=True)
    assert read_back.bundle == group
    assert [media.kind for media in read_back.media if media.rejected] == rejected
    assert [media.kind for media in read_back.media] == [media.kind for media in parse(offer).media]
    assert [media.mid for media in read_back.media] == [media.mid for media in parse(offer).media]
    tagged = [media for media in read_back.media if media.candidates]
    assert [media.mid for media in tagged] == [group[0]]


def test_only_the_unusable_m_line_is_rejected() -> None:
    """Adds each kind of unsupported m-line after a supported one."""
    for odd in (
        "m=video 9 UDP/TLS/RTP/SAVPF 98\na=mid:odd\na=rtpmap:98 H265/90000\n",
        "m=video 9 UDP/TLS/RTP/SAVPF\na=mid:odd\n",
        "m=video 9 UDP/TLS/RTP/SAVPF *\na=mid:odd\n",
        "m=application 9 UDP/BFCP *\na=mid:odd\n",
        "m=video 9 UDP/TLS/RTP/SAVPF 96\n",
    ):
        text = section("a=rtpmap:96 VP8/90000\n").replace("BUNDLE 0", "BUNDLE 0 odd") + odd
        made = answer(text)
        assert [track.mid for track in made.tracks] == ["0"]
        assert [media.rejected for media in parse(made.sdp).media] == [False, True]


@pytest.mark.parametrize(
    "protocol", ["UDP/TLS/RTP/SAVPF", "UDP/TLS/RTP/SAVP", "RTP/SAVPF", "TCP/DTLS/RTP/SAVPF", "RTP/AVP"]
)
def test_the_answer_has_the_profile_of_the_offer(protocol: str) -> None:
    text = section("a=rtpmap:96 VP8/90000\n").replace("UDP/TLS/RTP/SAVPF", protocol)
    assert f"m=video 9 {protocol} 96\r\n" in answer(text).sdp


def test_without_a_group_the_first_usable_m_line_is_accepted() -> None:
    text = section("a=rtpmap:96 H265/90000\n").replace("a=group:BUNDLE 0\n", "")
    other = section("a=rtpmap:96 VP8/90000\n", mid="1").partition("m=")[2]
    assert [track.mid for track in answer(f"{text}m={other}m={other.replace('mid:1', 'mid:2')}").tracks] == ["1"]


def test_draft_data_channels_get_a_draft_answer() -> None:
    text = section("a=sctpmap:5001 webrtc-datachannel 1024\n", kind="application", formats="5001")
    made = answer(text.replace("UDP/TLS/RTP/SAVPF", "DTLS/SCTP"))
    assert made.data is not None
    assert made.data.sctp_port == 5001
    assert "m=application 9 DTLS/SCTP 5000\r\n" in made.sdp
    assert "a=sctpmap:5000 webrtc-datachannel 1024\r\n" in made.sdp


@pytest.mark.parametrize(("name", "cameras"), [("chromium-16-cameras", 16), ("firefox-16-cameras", 16)])
def test_all_cameras_are_accepted(name: str, cameras: int) -> None:
    made = answer(offer_case(name))
    assert sum(track.rids == ("q", "h", "f") for track in made.tracks) == cameras
    assert made.data is not None
    assert len(made.tracks) == cameras + 1


SIMULCAST = f"a=extmap:10 {URI_RID}\na=rtpmap:96 VP8/90000\na=rtpmap:97 VP9/90000\na=rid:q send\na=rid:h send pt=97\n"


@pytest.mark.parametrize(
    ("formats", "lines", "codec", "rids"),
    [
        ("96 97", "a=simulcast:send q;h\n", "VP8", ("q",)),
        ("97 96", "a=simulcast:send q;h\n", "VP9", ("q", "h")),
        ("96 97", "a=simulcast:send q;h,q\n", "VP8", ("q",)),
        ("96 97", "a=rid:f send\na=simulcast:send q;h,f\n", "VP8", ("q", "f")),
        ("96 97", "a=simulcast:send ~q\n", "VP8", ("q",)),
    ],
)
def test_rids_of_the_chosen_codec(formats: str, lines: str, codec: str, rids: tuple[str, ...]) -> None:
    track = only_track(section(SIMULCAST + lines, formats=formats))
    assert (track.codec.name, track.rids, track.layers) == (codec, rids, rids)


def test_paused_layers_are_marked() -> None:
    accepted = accept_offer(parse(sample("pub-browser-offer.sdp")))
    made = write_answer(accepted, LOCAL, session_id=1, session_version=1, paused={"1": ("h", "f")})
    assert "a=simulcast:recv q;~h;~f\r\n" in made
    assert parse(made, answer=True).media[1].send_rids == ()


def test_layers_by_ssrc() -> None:
    lines = (
        "a=rtpmap:96 VP8/90000\na=rtpmap:97 rtx/90000\na=fmtp:97 apt=96\na=ssrc-group:SIM 1 2 3\n"
        "a=ssrc-group:FID 1 11\na=ssrc-group:FID 2 12\na=ssrc-group:FID 3 13\n"
        + "".join(f"a=ssrc:{ssrc} cname:x\n" for ssrc in (1, 2, 3, 11, 12, 13))
    )
    track = only_track(section(lines))
    assert (track.rids, track.layers) == ((), ("0", "1", "2"))
    assert track.ssrcs == ((1, 11), (2, 12), (3, 13))
    assert track.stream_count == 6


@settings(max_examples=200)
@given(st.sampled_from(OFFERS), st.data())
def test_mutated_offers(name: str, data: st.DataObject) -> None:
    lines = sample(name).split("\r\n")
    for _ in range(data.draw(st.integers(1, 6))):
        index = data.draw(st.integers(1, len(lines) - 1))
        action = data.draw(st.sampled_from(["drop", "repeat", "move", "change"]))
        if action == "drop":
            del lines[index]
        elif action == "repeat":
            lines.insert(index, lines[index])
        elif action == "move":
            lines.insert(data.draw(st.integers(1, len(lines) - 1)), lines[index])
        else:
            lines[index] = lines[index][: data.draw(st.integers(0, len(lines[index])))] + data.draw(st.text(max_size=5))
    try:
        made = answer("\r\n".join(lines))
    except BadRequest:
        return
    parse(made.sdp)
