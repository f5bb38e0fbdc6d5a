"""Offers of receiving clients: what is accepted of real ones, codec matching, and the answers."""

from pathlib import Path

import pytest

from sfu.errors import BadRequest
from sfu.sdp import capabilities as caps
from sfu.sdp.description import parse
from sfu.sdp.offer import parse_answer
from sfu.sdp.receive_offer import (
    OfferedTrack,
    ReceiveOffer,
    SentTrack,
    accept_receive_offer,
    counter_offer,
    write_receive_answer,
)
from tests.sdp.samples import DIRECTORY, LOCAL, sample, section

CLIENTS = ("chromium", "firefox", "gstreamer")
VP8, OPUS = ("VP8", ""), ("opus", "minptime=10;useinbandfec=1")
H264 = "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id="


def offer(client: str) -> str:
    """Made by the client itself: a video and an audio transceiver that receive, Chromium's with a data channel."""
    return (Path(DIRECTORY) / "receive" / f"{client}.sdp").read_bytes().decode()


def sent(accepted: ReceiveOffer, mid: str, codec: tuple[str, str], ssrc: int = 7) -> SentTrack:
    receive = accepted.sections[mid]
    chosen = receive.choose(*codec)
    assert chosen is not None
    red = receive.red_for(chosen) if codec[0] == "opus" else None
    codecs = (chosen,) if red is None else (chosen, red)
    return SentTrack(codecs, codec[1], ssrc, ssrc + 1 if chosen.rtx is not None else None, "alice", f"t{ssrc}")


@pytest.mark.parametrize(
    ("client", "mids", "payload_types", "extensions", "mixed"),
    [
        (
            "chromium", ("0", "1"), (96, 97, 111),
            {caps.URI_MID: 9, caps.URI_TRANSPORT_CC: 4, caps.URI_ABS_SEND_TIME: 2, caps.URI_VIDEO_ORIENTATION: 3}, True,
        ),
        (
            "firefox", ("0", "1"), (120, 124, 109),
            {caps.URI_MID: 3, caps.URI_TRANSPORT_CC: 7, caps.URI_ABS_SEND_TIME: 4, caps.URI_PLAYOUT_DELAY: 6}, True,
        ),
        ("gstreamer", ("video0", "audio1"), (101, 97, 96), {}, False),
    ],
)  # fmt: skip
def test_ids_come_from_the_offer(
    client: str, mids: tuple[str, str], payload_types: tuple[int, int, int], extensions: dict[str, int], mixed: bool
) -> None:
    accepted = accept_receive_offer(offer(client))
    assert tuple(accepted.sections) == mids
    video, audio = accepted.sections.values()
    assert (video.kind, audio.kind) == ("video", "audio")
    picture, sound = video.choose(*VP8), audio.choose(*OPUS)
    assert picture is not None
    assert sound is not None
    assert (picture.payload_type, picture.rtx, sound.payload_type) == payload_types
    assert picture.nack
    assert extensions.items() <= video.extensions.items()
    assert not extensions or caps.URI_RID not in video.extensions
    assert bool(video.extensions) == bool(extensions)
    assert video.allow_mixed is mixed
    assert accepted.setup == "passive"
    assert (accepted.data is not None) == (client == "chromium")
    assert accepted.ufrag
    assert accepted.pwd
    assert accepted.fingerprints


@pytest.mark.parametrize(
    ("client", "codec", "payload_type"),
    [
        ("chromium", ("H264", H264 + "42e01f"), 108),
        ("chromium", ("H264", H264 + "42c02a"), 108),
        ("chromium", ("H264", "profile-level-id=42e01f"), 114),
        ("chromium", ("H264", H264 + "42001f"), 102),
        ("chromium", ("H264", H264 + "4d0032"), 116),
        ("chromium", ("H264", H264 + "640028"), 41),
        ("chromium", ("VP9", "profile-id=2"), 100),
        ("chromium", ("VP9", ""), 98),
        ("chromium", ("AV1", "profile=1"), 47),
        ("firefox", ("VP9", "profile-id=2"), None),
        ("firefox", ("AV1", ""), 99),
        ("firefox", ("H264", H264 + "42e01f"), None),
        ("gstreamer", ("H264", H264 + "640028"), 103),
        ("gstreamer", ("AV1", ""), None),
    ],
)
def test_the_payload_type_matches_the_track(client: str, codec: tuple[str, str], payload_type: int | None) -> None:
    video, _ = accept_receive_offer(offer(client)).sections.values()
    chosen = video.choose(*codec)
    assert (chosen.payload_type if chosen is not None else None) == payload_type


@pytest.mark.parametrize(
    ("offered", "track", "matches"),
    [
        ("packetization-mode=1;profile-level-id=42e01f", H264 + "42e01f", True),
        ("packetization-mode=0;profile-level-id=42e01f", H264 + "42e01f", False),
        ("profile-level-id=42e01f", H264 + "42e01f", False),
        ("packetization-mode=1;profile-level-id=42e01f", "profile-level-id=42e01f", True),
        ("packetization-mode=1;profile-level-id=42e01f", H264 + "42001f", True),
        ("packetization-mode=1;profile-level-id=42e01f", H264 + "4d001f", False),
        ("packetization-mode=1;profile-level-id=42e01f", H264 + "640c1f", False),
        ("packetization-mode=1;profile-level-id=4d001f", H264 + "42e01f", True),
        ("packetization-mode=1;profile-level-id=4d001f", H264 + "42001f", False),
        ("packetization-mode=1;profile-level-id=64001f", H264 + "42e01f", True),
        ("packetization-mode=1;profile-level-id=64001f", H264 + "4d001f", True),
        ("packetization-mode=1;profile-level-id=64001f", H264 + "640c1f", True),
        ("packetization-mode=1;profile-level-id=f4001f", H264 + "64001f", True),
        ("packetization-mode=1;profile-level-id=64001f", H264 + "f4001f", False),
        ("", H264 + "64001f", True),
    ],
)
def test_h264_profiles_that_contain_the_track(offered: str, track: str, matches: bool) -> None:
    lines = "a=recvonly\na=rtpmap:96 H264/90000\n" + (f"a=fmtp:96 {offered}\n" if offered else "")
    receive = accept_receive_offer(section(lines, formats="96")).sections["0"]
    assert (receive.choose("H264", track) is not None) == matches


@pytest.mark.parametrize("client", CLIENTS)
def test_the_answer_sends_in_what_the_client_offered(client: str) -> None:
    accepted = accept_receive_offer(offer(client))
    video, audio = accepted.sections
    tracks = {video: sent(accepted, video, VP8), audio: sent(accepted, audio, OPUS, 9)}
    text = write_receive_answer(accepted, LOCAL, tracks, session_id=5, session_version=1)
    answer = parse(text, answer=True)
    assert answer.ice_lite
    assert answer.bundle == (video, audio)
    assert [each.kind for each in answer.media] == [each.kind for each in accepted.offer.media]
    for media in answer.media[:2]:
        receive, track = accepted.sections[media.mid], tracks[media.mid]
        assert not media.rejected
        assert media.direction == "sendonly"
        assert media.setup == "passive"
        assert media.has_transport
        assert media.rtcp_mux
        assert [codec.payload_type for codec in media.codecs] == [codec.payload_type for codec in track.codecs]
        assert media.extensions == receive.extensions
        assert media.extmap_allow_mixed == receive.allow_mixed
        assert media.msid == f"alice t{track.ssrc}"
        assert media.ssrcs == (track.ssrc, track.rtx_ssrc) if track.rtx_ssrc else (track.ssrc,)
    assert answer.media[0].ssrc_groups == (("FID", (7, 8)),)
    assert answer.media[0].rtx == {tracks[video].codecs[0].rtx: tracks[video].codecs[0].payload_type}
    assert all(each.rejected for each in answer.media[2:])
    assert text.count("a=candidate:") == 2


@pytest.mark.parametrize("client", CLIENTS)
def test_unfilled_m_lines_are_rejected_or_inactive(client: str) -> None:
    accepted = accept_receive_offer(offer(client))
    video, audio = accepted.sections
    tracks = {audio: sent(accepted, audio, OPUS)}
    rejected = parse(write_receive_answer(accepted, LOCAL, tracks, session_id=5, session_version=1), answer=True)
    assert rejected.media[0].rejected
    assert rejected.bundle == (audio,)
    assert rejected.transport_section is rejected.media[1]
    text = write_receive_answer(accepted, LOCAL, tracks, session_id=5, session_version=1, inactive=[video], data=True)
    inactive = parse(text, answer=True)
    assert inactive.media[0].direction == "inactive"
    assert not inactive.media[0].rejected
    assert len(inactive.media[0].codecs) == len(accepted.sections[video].codecs)
    assert not any(each.rejected for each in inactive.media)
    assert f"a=group:BUNDLE {' '.join(inactive.bundle)}\r\n" in text


def test_feedback_that_the_client_did_not_offer_completely_is_not_used() -> None:
    """GStreamer offers transport-cc without its header extension, and RTX for its first codec only."""
    video, audio = accept_receive_offer(offer("gstreamer")).sections.values()
    assert [codec.feedback for codec in video.codecs] == [("ccm fir", "nack", "nack pli")] * 3
    assert [codec.rtx for codec in video.codecs] == [97, None, None]
    assert audio.codecs[0].feedback == ()
    lines = "a=recvonly\na=rtpmap:96 VP8/90000\na=extmap:4 " + caps.URI_TRANSPORT_CC + "\n"
    assert accept_receive_offer(section(lines)).sections["0"].extensions == {}


def test_a_descriptor_needs_mixed_headers() -> None:
    lines = f"a=recvonly\na=rtpmap:96 VP8/90000\na=extmap:17 {caps.URI_DEPENDENCY_DESCRIPTOR}\n"
    assert accept_receive_offer(section(lines)).sections["0"].extensions == {}
    mixed = section(lines + "a=extmap-allow-mixed\n")
    assert accept_receive_offer(mixed).sections["0"].extensions == {caps.URI_DEPENDENCY_DESCRIPTOR: 17}


@pytest.mark.parametrize(
    "lines",
    [
        "a=sendonly\na=rtpmap:96 VP8/90000\n",
        "a=inactive\na=rtpmap:96 VP8/90000\n",
        "a=recvonly\na=rtpmap:96 H265/90000\n",
    ],
)
def test_an_m_line_that_cannot_be_filled_is_not_listed(lines: str) -> None:
    accepted = accept_receive_offer(section(lines))
    assert accepted.sections == {}
    answer = parse(write_receive_answer(accepted, LOCAL, {}, session_id=5, session_version=1), answer=True)
    assert answer.media[0].rejected


def test_an_offer_without_multiplexed_rtcp_is_refused() -> None:
    lines = section("a=recvonly\na=rtpmap:96 VP8/90000\n").replace("a=rtcp-mux\n", "")
    with pytest.raises(BadRequest, match="RTCP"):
        accept_receive_offer(lines)


def test_red_is_for_the_payload_type_inside_it() -> None:
    _, audio = accept_receive_offer(offer("chromium")).sections.values()
    opus = audio.choose(*OPUS)
    assert opus is not None
    red = audio.red_for(opus)
    assert red is not None
    assert red.payload_type == 63
    lines = "a=recvonly\na=rtpmap:96 opus/48000/2\na=rtpmap:97 red/48000/2\na=fmtp:97 98/98\n"
    other = accept_receive_offer(section(lines, kind="audio")).sections["0"]
    assert other.red_for(other.codecs[0]) is None


def test_the_counter_offer_sends_with_our_ids() -> None:
    tracks = [
        OfferedTrack("audio", *OPUS, 5, None, "alice", "t5"),
        OfferedTrack("video", "H264", H264 + "42e01f", 7, 8, "alice", "t7"),
    ]
    text, slots = counter_offer(tracks, LOCAL, session_id=5, session_version=1)
    parsed = parse(text)
    assert [media.direction for media in parsed.media] == ["sendonly"] * 2
    assert [media.extensions[caps.URI_MID] for media in parsed.media] == [1, 1]
    assert parsed.media[1].ssrc_groups == (("FID", (7, 8)),)
    answer = sample("sub-browser-answer.sdp")
    assert len(slots) == 2
    with pytest.raises(BadRequest, match="m-lines"):
        parse_answer(answer, slots[:1])
