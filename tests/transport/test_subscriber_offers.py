"""Offers to one subscriber: which m-line carries a track, and what an answer means for it."""

import itertools

import pytest

from sfu.errors import AtCapacity, BadRequest
from sfu.ids import TrackId
from sfu.sdp.capabilities import URI_TRANSPORT_CC
from sfu.sdp.description import ANSWER_MEDIA_LIMIT
from sfu.sdp.local import LocalTransport
from sfu.transport.published_track import PublishedTrack
from sfu.transport.settings import Settings
from sfu.transport.subscriber_offers import SubscriberOffer, SubscriberOffers
from sfu.transport.subscription import SendParameters
from sfu.transport.webrtc_server import WebRtcServer
from tests.support.peer import RawPeer
from tests.support.wire import Bench

A, B, C = (TrackId(f"TR_{name}") for name in "abc")
LOCAL = LocalTransport("ufrag", "p" * 22, "AA:BB", ())


class Setup:
    """A camera and a microphone, and the offers to one subscriber."""

    def __init__(self) -> None:
        bench, webrtc_server = Bench(), WebRtcServer(Settings())
        self.camera = PublishedTrack(webrtc_server.engine, bench.video(), "PA_1")
        self.microphone = PublishedTrack(webrtc_server.engine, bench.audio(), "PA_1")
        ssrcs = itertools.count(101)
        self.offers = SubscriberOffers(lambda: next(ssrcs))

    def make(self) -> SubscriberOffer:
        return self.offers.make(LOCAL, session_id=1, session_version=1)

    def answer(self, offer: SubscriberOffer, without: str = "\0") -> dict[TrackId, SendParameters | None]:
        peer = RawPeer()
        try:
            sdp = peer.answer("\r\n".join(line for line in offer.sdp.split("\r\n") if without not in line))
        finally:
            peer.close()
        return dict(self.offers.accept(self.offers.parse_answer(sdp)))


def test_tracks_get_m_lines_ssrcs_and_payload_types() -> None:
    setup = Setup()
    assert not setup.offers.due
    setup.offers.assign(A, setup.camera)
    setup.offers.assign(B, setup.microphone)
    assert setup.offers.due
    offer = setup.make()
    assert not setup.offers.due
    assert offer.tracks == {"00": A, "01": B}
    sent = setup.answer(offer)
    video, audio = sent[A], sent[B]
    assert video is not None
    assert audio is not None
    assert (video.mid, video.ssrc, video.rtx_ssrc) == ("00", 101, 102)
    assert (audio.mid, audio.ssrc, audio.rtx_ssrc, audio.rtx_payload_type) == ("01", 103, 0, None)
    assert video.rtx_payload_type is not None
    assert audio.red_payload_type is not None
    assert URI_TRANSPORT_CC in video.extensions


def test_a_free_m_line_of_the_same_kind_is_used_again_with_new_ssrcs() -> None:
    setup = Setup()
    setup.offers.assign(A, setup.camera)
    setup.answer(setup.make())
    setup.offers.release(A)
    setup.offers.release(A)
    setup.offers.assign(B, setup.microphone)
    setup.offers.assign(C, setup.camera)
    offer = setup.make()
    assert offer.tracks == {"00": C, "01": B}
    parameters = setup.answer(offer)[C]
    assert parameters is not None
    assert parameters.ssrc not in (101, 102)


def test_changes_wait_while_an_offer_is_open() -> None:
    setup = Setup()
    setup.offers.assign(A, setup.camera)
    offer = setup.make()
    setup.offers.assign(B, setup.camera)
    setup.offers.release(A)
    assert not setup.offers.due
    assert setup.answer(offer) == {}
    assert setup.offers.due
    assert setup.make().tracks == {"01": B}


def test_a_track_whose_m_line_changed_since_the_offer_is_left_out() -> None:
    setup = Setup()
    setup.offers.assign(A, setup.camera)
    offer = setup.make()
    setup.offers.release(A)
    setup.offers.assign(B, setup.camera)
    assert setup.answer(offer) == {}
    assert list(setup.answer(setup.make())) == [B]


def test_a_refused_answer_leaves_the_offer_open() -> None:
    setup = Setup()
    setup.offers.assign(A, setup.camera)
    offer = setup.make()
    with pytest.raises(BadRequest):
        setup.offers.parse_answer("v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n")
    assert setup.offers.is_open(offer.offer_id)
    assert setup.answer(offer)[A] is not None
    assert not setup.offers.is_open(offer.offer_id)


def test_a_withdrawn_offer_is_followed_by_another() -> None:
    setup = Setup()
    setup.offers.assign(A, setup.camera)
    first = setup.make()
    setup.offers.withdraw()
    assert setup.offers.due
    second = setup.make()
    assert (setup.offers.is_open(first.offer_id), setup.offers.is_open(second.offer_id)) == (False, True)


def test_a_codec_that_the_client_does_not_take_is_reported() -> None:
    setup = Setup()
    setup.offers.assign(A, setup.camera)
    assert setup.answer(setup.make(), without="VP8/90000") == {A: None}


def test_m_lines_are_limited() -> None:
    setup = Setup()
    for number in range(ANSWER_MEDIA_LIMIT):
        setup.offers.assign(TrackId(str(number)), setup.camera)
    with pytest.raises(AtCapacity):
        setup.offers.assign(A, setup.camera)
    setup.offers.release(TrackId("7"))
    setup.offers.assign(A, setup.camera)
    assert setup.make().tracks["07"] == A
