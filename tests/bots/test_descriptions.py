import pytest

from sfu.bots.descriptions import Credentials, publishing_offer, remote_of, subscribing_answer
from sfu.bots.outbound import OutboundStream
from sfu.errors import BadRequest
from sfu.sdp.answer import answer_offer
from sfu.sdp.description import parse
from sfu.sdp.local import LocalTransport
from sfu.sdp.offer import Transceiver, make_offer, parse_answer

PRINT = ":".join(["AB"] * 32)
MINE = Credentials("bot1", "a-password-of-24-chars-x", PRINT)
SERVER = LocalTransport(
    "server", "another-password-of-24-c", PRINT,
    (("127.0.0.1", 7882, 1, "1", "udp"), ("192.0.2.1", 7882, 9, "2", "udp"), ("192.0.2.1", 443, 99, "3", "tcp")),
)  # fmt: skip


def streams(*rids: str) -> list[OutboundStream]:
    return [
        OutboundStream(ssrc=10 + i, payload_type=96, clock_rate=90_000, mid="1", rid=rid, rtx_ssrc=20 + i)
        for i, rid in enumerate(rids)
    ]


AUDIO = OutboundStream(ssrc=1, payload_type=111, clock_rate=48_000, mid="0")


@pytest.mark.parametrize(
    ("audio", "rids", "mids"),
    [(AUDIO, ("q", "h", "f"), ["0", "1"]), (AUDIO, ("",), ["0", "1"]), (AUDIO, (), ["0"]), (None, ("q", "f"), ["1"])],
)
def test_the_server_accepts_the_offer(audio: OutboundStream | None, rids: tuple[str, ...], mids: list[str]) -> None:
    offer = publishing_offer(MINE, 1, "stream", audio, streams(*rids))
    answer = answer_offer(offer, SERVER, session_id=1, session_version=1)
    assert [track.mid for track in answer.tracks] == mids
    assert (answer.ufrag, answer.pwd, answer.fingerprints) == ("bot1", MINE.pwd, (("sha-256", PRINT),))
    if rids:
        video = answer.tracks[-1]
        assert video.codec.name == "VP8"
        assert video.rids == tuple(rid for rid in rids if rid)
        assert video.rtx == {97: 96}
        if not video.rids:
            assert video.ssrcs == ((10, 20),)
    remote = remote_of(parse(answer.sdp))
    assert (remote.ufrag, remote.setup) == ("server", "passive")
    assert remote.addresses == (("192.0.2.1", 7882), ("127.0.0.1", 7882))


def test_the_answer_accepts_every_media_m_line() -> None:
    slots = [
        Transceiver("00", "video", (("VP8", 90_000, 1, "", 96, 97),), 5, 6, "ada", "TR_1", True),
        Transceiver("01", "audio", (("opus", 48_000, 2, "", 111, None),), 7, None, "ada", "TR_2", True),
        Transceiver("02", "video", (("VP8", 90_000, 1, "", 96, 97),), 8, 9, "bob", "TR_3", False),
    ]
    offer = make_offer(slots, SERVER, session_id=1, session_version=1, data=True)
    accepted = parse_answer(subscribing_answer(offer, MINE, 1), slots)
    assert (accepted.ufrag, accepted.setup, accepted.data) == ("bot1", "active", None)
    assert [accepted.sections[slot.mid].accepted for slot in slots] == [True, True, False]
    assert accepted.sections["00"].rtx == {97: 96}
    assert len(accepted.sections["00"].extensions) == 3


def test_a_description_without_a_transport() -> None:
    with pytest.raises(BadRequest):
        remote_of(parse("v=0\r\n"))
