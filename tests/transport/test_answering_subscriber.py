"""A connection that negotiates once, without a network: m-lines, codecs and the streams that continue."""

import pytest

from sfu.errors import AtCapacity, BadRequest
from sfu.ids import TrackId
from sfu.rooms.ports import SubscriptionSettings
from sfu.sdp.receive_offer import accept_receive_offer
from sfu.transport.answering_subscriber import AnsweringSubscriber
from sfu.transport.endpoint import WebRtcEndpoint
from sfu.transport.published_track import PublishedTrack
from tests.support.peer import RawPeer
from tests.support.wire import Bench
from tests.transport.test_subscriber import Listener
from tests.transport.test_subscriber import Setup as SubscriberSetup

A, B = TrackId("TR_a"), TrackId("TR_b")
ALL = SubscriptionSettings()


class Setup(SubscriberSetup):
    """A camera in VP8 and a client that receives."""

    def __init__(self) -> None:
        super().__init__()
        self.peer = RawPeer()
        self.subscriber: AnsweringSubscriber = WebRtcEndpoint(self.webrtc_server).open_answering_subscriber(
            "PA_2", self.listener
        )

    def another(self) -> PublishedTrack:
        bench = Bench()
        bench.engine = self.webrtc_server.engine
        return PublishedTrack(bench.engine, bench.video(), "PA_3")

    def answer(self, edit: tuple[str, str] = ("", "")) -> str:
        offer = self.peer.offer().replace("a=sendonly", "a=recvonly").replace(*edit)
        return self.subscriber.answer(accept_receive_offer(offer), {"audio": None, "video": self.camera})

    def close(self) -> None:
        self.subscriber.close()
        self.peer.close()


@pytest.fixture
def setup() -> Setup:
    return Setup()


async def test_an_answer_has_one_stream_per_kind(setup: Setup) -> None:
    sdp = setup.answer()
    assert sdp.count("a=sendonly") == 2
    assert setup.subscriber.kinds == {"audio", "video"}
    assert (setup.subscriber.mid("audio"), setup.subscriber.mid("video")) == ("0", "1")
    setup.subscriber.subscribe(A, setup.camera, ALL)
    (down_track,) = setup.camera.track.down_tracks
    assert f"a=ssrc:{down_track.ssrc} " in sdp
    assert (down_track.payload_types[0], down_track.rtx_payload_type) == (96, 97)
    with pytest.raises(AtCapacity):
        setup.subscriber.subscribe(B, setup.another(), ALL)
    setup.close()


async def test_the_next_track_continues_ssrc_and_numbers(setup: Setup) -> None:
    setup.answer()
    setup.subscriber.subscribe(A, setup.camera, ALL)
    (before,) = setup.camera.track.down_tracks
    before.highest_sent, before.rtx_sequence = 41_000, 7_000
    setup.subscriber.unsubscribe(A)
    camera = setup.another()
    setup.subscriber.subscribe(B, camera, ALL)
    (after,) = camera.track.down_tracks
    assert (after.ssrc, after.rtx_ssrc) == (before.ssrc, before.rtx_ssrc)
    assert (after.last_sent(), after.rtx_sequence) == (41_000, 7_000)
    setup.close()


async def test_a_codec_that_the_client_does_not_take_is_reported(setup: Setup) -> None:
    setup.answer(("VP8/90000", "VP9/90000"))
    setup.subscriber.subscribe(A, setup.camera, ALL)
    assert setup.listener.reasons == [(A, "codec")]
    assert setup.camera.track.down_tracks == []
    setup.close()


async def test_an_ice_restart_describes_the_same_streams(setup: Setup) -> None:
    before = setup.answer().split("\r\n")
    after = setup.subscriber.restart_ice().split("\r\n")
    changed = {line.split(":")[0] for line, old in zip(after, before, strict=True) if line != old}
    assert {name.partition(" ")[0] for name in changed} == {"o=-", "a=ice-ufrag", "a=ice-pwd"}
    setup.close()


@pytest.mark.parametrize("refused", ["", "audio"])
async def test_the_offer_of_the_server(setup: Setup, refused: str) -> None:
    sdp = setup.subscriber.offer({"video": setup.camera})
    for wrong in ("nonsense", setup.peer.offer()):
        with pytest.raises(BadRequest):
            setup.subscriber.accept_answer(wrong)
    answer = setup.peer.answer(sdp)
    if refused:
        answer = answer.replace("a=recvonly", "a=inactive")
    setup.subscriber.accept_answer(answer)
    assert setup.subscriber.kinds == (set() if refused else {"video"})
    if not refused:
        setup.subscriber.subscribe(A, setup.camera, ALL)
        (down_track,) = setup.camera.track.down_tracks
        assert down_track.layout is None  # our ids: canonical packets
    setup.close()


def test_a_description_comes_first(setup: Setup) -> None:
    assert isinstance(setup.listener, Listener)
    with pytest.raises(RuntimeError):
        setup.subscriber.restart_ice()
    setup.close()
