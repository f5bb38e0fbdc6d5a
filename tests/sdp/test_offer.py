"""Offers to subscribers, and parsing of their answers."""

import contextlib
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sfu.errors import BadRequest
from sfu.sdp.capabilities import (
    OFFERED_EXTENSIONS,
    OUT_EXTENSION_IDS,
    URI_AUDIO_LEVEL,
    URI_DEPENDENCY_DESCRIPTOR,
    URI_MID,
    URI_TRANSPORT_CC,
)
from sfu.sdp.description import parse
from sfu.sdp.offer import DATA_MID, Transceiver, make_offer, parse_answer
from tests.sdp.samples import LOCAL, sample

AUDIO = Transceiver("0", "audio", (("opus", 48000, 2, "", 111, None),), 11, None, "stream", "mic", True)
RED = AUDIO._replace(codecs=(("red", 48000, 2, "111/111", 63, None), ("opus", 48000, 2, "", 111, None)))
VIDEO = Transceiver("1", "video", (("VP8", 90000, 1, "", 96, 97),), 21, 22, "stream", "camera", True)


def offer(slots: list[Transceiver], data: bool = False) -> str:
    return make_offer(slots, LOCAL, session_id=1, session_version=3, data=data)


def test_offer_of_audio_and_video() -> None:
    text = offer([RED, VIDEO])
    made = parse(text)
    assert made.bundle == ("0", "1")
    assert made.ice_lite
    audio, video = made.media
    assert [codec.name for codec in audio.codecs] == ["red", "opus"]
    assert audio.codecs[0].parameters == "111/111"
    assert (video.codecs[0].name, video.rtx) == ("VP8", {97: 96})
    assert video.codecs[0].feedback == ("goog-remb", "transport-cc", "ccm fir", "nack", "nack pli", "rrtr")
    assert (audio.ssrcs, video.ssrcs, video.ssrc_groups) == ((11,), (21, 22), (("FID", (21, 22)),))
    assert video.msid == "stream camera"
    assert {audio.direction, video.direction} == {"sendonly"}
    assert audio.setup == "actpass"
    assert (video.ufrag, video.pwd) == (LOCAL.ufrag, LOCAL.pwd)
    assert video.fingerprints == [("sha-256", LOCAL.fingerprint_sha256)]
    assert audio.extensions == dict(OFFERED_EXTENSIONS["audio"])
    assert video.extensions == dict(OFFERED_EXTENSIONS["video"])
    assert text.count("a=candidate:") == 2
    assert text.count("a=end-of-candidates") == 1


def test_inactive_slots_stay_in_the_bundle() -> None:
    made = parse(offer([AUDIO, VIDEO._replace(active=False)]))
    assert made.bundle == ("0", "1")
    video = made.media[1]
    assert (video.direction, video.rejected, video.ssrcs, video.msid) == ("inactive", False, (), "")


def test_data_comes_first() -> None:
    made = parse(offer([VIDEO], data=True))
    assert made.bundle == (DATA_MID, "1")
    assert (made.media[0].kind, made.media[0].sctp_port) == ("application", 5000)


def test_extensions_can_be_left_out() -> None:
    text = make_offer([VIDEO], LOCAL, session_id=1, session_version=3, without={URI_DEPENDENCY_DESCRIPTOR})
    assert URI_DEPENDENCY_DESCRIPTOR not in parse(text).media[0].extensions
    assert URI_MID in parse(text).media[0].extensions


def test_publishers_parameters_do_not_reach_subscribers() -> None:
    h264 = VIDEO._replace(codecs=(("H264", 90000, 1, "profile-level-id=42e01f;x=<b>", 100, None),))
    assert parse(offer([h264])).media[0].codecs[0].parameters == (
        "level-asymmetry-allowed=1;packetization-mode=0;profile-level-id=42e01f"
    )


def recorded_slots() -> list[Transceiver]:
    return [AUDIO, VIDEO]


@pytest.mark.parametrize("name", ["sub-browser-answer.sdp", "firefox-sub-browser-answer.sdp"])
def test_recorded_answers(name: str) -> None:
    accepted = parse_answer(sample(name), recorded_slots())
    assert accepted.setup == "active"
    assert accepted.ufrag == parse(sample(name)).media[0].ufrag
    assert accepted.sections["0"].payload_types == {111: "opus"}
    assert accepted.sections["1"].payload_types == {96: "VP8"}
    assert accepted.sections["1"].rtx == {97: 96}
    assert accepted.sections["1"].extensions.items() >= {URI_MID: 1, URI_TRANSPORT_CC: 2}.items()
    assert URI_AUDIO_LEVEL not in accepted.sections["0"].extensions  # recorded with a different id
    assert all(section.accepted for section in accepted.sections.values())


def mirrored(text: str) -> str:
    return text.replace("a=sendonly", "a=recvonly").replace("a=setup:actpass", "a=setup:active")


def test_mirrored_offer_is_accepted_completely() -> None:
    accepted = parse_answer(mirrored(offer([RED, VIDEO], data=True)), [RED, VIDEO])
    assert accepted.sections["0"].payload_types == {63: "red", 111: "opus"}
    assert accepted.sections["1"].extensions == {uri: OUT_EXTENSION_IDS[uri] for uri, _ in OFFERED_EXTENSIONS["video"]}
    assert accepted.data is not None
    assert accepted.data.max_message_size == 64_000


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("m=video 9", "m=video 0"),
        ("a=recvonly", "a=inactive"),
        ("VP8/90000", "VP9/90000"),
    ],
)
def test_sections_can_be_declined(old: str, new: str) -> None:
    accepted = parse_answer(mirrored(offer([VIDEO])).replace(old, new), [VIDEO])
    assert not accepted.sections["1"].accepted


def test_payload_types_that_were_not_offered_are_not_accepted() -> None:
    text = mirrored(offer([VIDEO])).replace("SAVPF 96 97", "SAVPF 96 97 98") + "a=rtpmap:98 VP9/90000\r\n"
    assert parse_answer(text, [VIDEO]).sections["1"].payload_types == {96: "VP8"}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (mirrored(offer([VIDEO])), "1 media m-lines"),
        (
            mirrored(offer([AUDIO, VIDEO, *[VIDEO._replace(mid=str(9 + n)) for n in range(140)]])),
            "The answer has 142 m-lines",
        ),
        (mirrored(offer([AUDIO, VIDEO])) + "a=x:" + "y" * 40_000 + "\r\n", "longer than 8,192 characters"),
        (mirrored(offer([VIDEO, AUDIO])), "does not match m-line"),
        (mirrored(offer([AUDIO, VIDEO._replace(mid="7")])), "does not match m-line"),
        (offer([AUDIO, VIDEO]), "must be active or passive"),
        ("v=0\n", "0 media m-lines"),
        (mirrored(make_offer([AUDIO, VIDEO], replace(LOCAL, ufrag="x"), session_id=1, session_version=1)), "ufrag"),
    ],
)
def test_answers_that_do_not_match(text: str, sentence: str) -> None:
    with pytest.raises(BadRequest, match=sentence):
        parse_answer(text, [AUDIO, VIDEO])


@given(st.data())
def test_mutated_answers(data: st.DataObject) -> None:
    lines = mirrored(offer([RED, VIDEO], data=True)).split("\r\n")
    for _ in range(data.draw(st.integers(1, 4))):
        index = data.draw(st.integers(1, len(lines) - 1))
        if data.draw(st.booleans()):
            del lines[index]
        else:
            lines[index] = lines[index][: data.draw(st.integers(0, len(lines[index])))] + data.draw(st.text(max_size=5))
    with contextlib.suppress(BadRequest):
        parse_answer("\r\n".join(lines), [RED, VIDEO])
