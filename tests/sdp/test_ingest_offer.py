import pytest

from sfu.errors import BadRequest
from sfu.sdp.answer import write_answer
from sfu.sdp.description import parse
from sfu.sdp.ingest_offer import accept_ingest
from sfu.sdp.local import LocalTransport

TRANSPORT = f"a=ice-ufrag:abcd\r\na=ice-pwd:{'x' * 24}\r\na=fingerprint:sha-256 {':'.join(['AA'] * 32)}\r\n"
SESSION = f"v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n{TRANSPORT}a=setup:actpass\r\n"
LOCAL = LocalTransport("ufrag", "p" * 24, "BB", (("192.0.2.1", 7882, 1, "1", "udp"),))
DATA = "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\na=mid:d\r\na=sctp-port:5000\r\n"


def section(kind: str, codec: str, mid: str = "", direction: str = "sendonly") -> str:
    named = f"a=mid:{mid}\r\n" if mid else ""
    return f"m={kind} 9 UDP/TLS/RTP/SAVPF 96\r\n{named}a={direction}\r\na=rtcp-mux\r\na=rtpmap:96 {codec}\r\n"


def group(*mids: str) -> str:
    return f"a=group:BUNDLE {' '.join(mids)}\r\n"


AUDIO, VIDEO = section("audio", "opus/48000/2", "0"), section("video", "H264/90000", "1")
ACCEPTED = {
    "both": (group("0", "1") + AUDIO + VIDEO, [("0", "audio"), ("1", "video")]),
    "sound only": (group("0") + AUDIO, [("0", "audio")]),
    "one m-line without a group": (VIDEO, [("1", "video")]),
    "one m-line without a mid": (section("video", "VP8/90000"), [("0", "video")]),
    "sendrecv, as browsers offer by default": (
        group("1") + section("video", "VP8/90000", "1", "sendrecv"), [("1", "video")]
    ),
    "a data channel": (group("0", "1", "d") + AUDIO + VIDEO + DATA, [("0", "audio"), ("1", "video")]),
    "a data channel first": (group("d", "0") + DATA + AUDIO, [("0", "audio")]),
    "an m-line that receives": (
        group("0", "1") + AUDIO + section("video", "VP8/90000", "1", "recvonly"), [("0", "audio")]
    ),
    "a stopped m-line": (group("0") + AUDIO + VIDEO.replace("m=video 9", "m=video 0"), [("0", "audio")]),
}  # fmt: skip
REFUSED = {
    "nothing": ("", "no_media"),
    "data only": (group("d") + DATA, "no_media"),
    "an unknown codec beside a known one": (
        group("0", "1") + AUDIO + section("video", "H265/90000", "1"), "unsupported_codec"
    ),
    "two transports": (AUDIO + VIDEO, "bundle_required"),
    "two m-lines without mids": (section("audio", "opus/48000/2") + section("video", "VP8/90000"), "bundle_required"),
    "an m-line outside of the group": (group("1") + AUDIO + VIDEO, "bundle_required"),
    "both sides ICE-lite": ("a=ice-lite\r\n" + group("0") + AUDIO, "bad_request"),
    "RTCP on another port": (group("0") + AUDIO.replace("a=rtcp-mux\r\n", ""), "bad_request"),
}  # fmt: skip


@pytest.mark.parametrize(("sdp", "tracks"), ACCEPTED.values(), ids=ACCEPTED)
def test_accepted(sdp: str, tracks: list[tuple[str, str]]) -> None:
    """All sending m-lines are received, and the answer has only names that the offer has."""
    offer = accept_ingest(parse(SESSION + sdp))
    assert list(offer.tracks) == tracks
    assert [track.mid for track in offer.accepted.tracks] == [mid for mid, _ in tracks]
    answer = offer.adapt(write_answer(offer.accepted, LOCAL, session_id=1, session_version=1))
    assert answer.count("a=recvonly") == len(tracks)
    assert answer.count("\r\nm=") == sdp.count("m=audio") + sdp.count("m=video") + sdp.count("m=application")
    assert ("a=group:" in answer) == ("a=group:" in sdp)
    assert ("a=mid:" in answer) == ("a=mid:" in sdp)
    assert "a=candidate:1 1 udp 1 192.0.2.1 7882 typ host" in answer
    for rejected in ("m=application 9", "a=sendonly", "a=sendrecv"):
        assert rejected not in answer


@pytest.mark.parametrize(("sdp", "code"), REFUSED.values(), ids=REFUSED)
def test_refused(sdp: str, code: str) -> None:
    with pytest.raises(BadRequest) as refusal:
        accept_ingest(parse(SESSION + sdp))
    assert refusal.value.code == code
