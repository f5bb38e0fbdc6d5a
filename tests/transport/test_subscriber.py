"""Subscribing connections without a network: what a negotiation adds to `SubscriberConnection`, and offers of the server."""

import asyncio

import pytest

from sfu.bandwidth.settings import Settings as BandwidthSettings
from sfu.errors import AtCapacity, BadRequest
from sfu.forwarding.decision_log import DecisionLog
from sfu.forwarding.loop_budget import media_budget
from sfu.ids import TrackId
from sfu.rooms.ports import SubscriptionSettings
from sfu.transport.downlink_scheduler import DownlinkScheduler
from sfu.transport.endpoint import WebRtcEndpoint
from sfu.transport.published_track import PublishedTrack
from sfu.transport.settings import Settings
from sfu.transport.subscriber import OfferingSubscriber, SubscriberConnection
from sfu.transport.subscription import SendParameters, Subscription
from sfu.transport.webrtc_server import WebRtcServer
from tests.support.peer import RawPeer
from tests.support.wire import Bench
from tests.transport.test_publisher import Ear

A, B = TrackId("TR_a"), TrackId("TR_b")


class Listener(Ear):
    def __init__(self) -> None:
        self.offers: list[tuple[int, str, dict[str, TrackId]]] = []
        self.reasons: list[tuple[TrackId, str]] = []
        self.lost = 0

    def offer_made(self, offer_id: int, sdp: str, tracks: dict[str, TrackId]) -> None:
        self.offers.append((offer_id, sdp, tracks))

    def subscription_changed(
        self, track: TrackId, *, paused: bool, reason: str, layer: str, width: int, height: int
    ) -> None:
        self.reasons.append((track, reason))

    def subscriber_lost(self) -> None:
        self.lost += 1


class OneSection(SubscriberConnection):
    """A client that offered one m-line: the first free subscription gets it."""

    assigned: TrackId | None = None

    def _assign(self, subscription: Subscription) -> None:
        if self.assigned is not None:
            raise AtCapacity("The client offers one m-line.")
        self.assigned = subscription.track

    def _release(self, track: TrackId) -> None:
        self.assigned = None

    def answer(self) -> None:
        assert self.assigned is not None
        subscription = self._down_tracks.get(self.assigned)
        assert subscription is not None
        self._open(subscription, SendParameters("7x", self._ssrcs.take(), 0, 120, None, None, {}), 0.0)


class Setup:
    def __init__(self) -> None:
        self.webrtc_server = WebRtcServer(Settings())
        bench = Bench()
        self.webrtc_server.engine = bench.engine
        self.camera = PublishedTrack(self.webrtc_server.engine, bench.video(), "PA_1")
        self.listener = Listener()

    def offering(self) -> OfferingSubscriber:
        return WebRtcEndpoint(self.webrtc_server).open_subscriber("PA_2", self.listener)


async def next_turn() -> None:
    await asyncio.sleep(0)


async def test_a_negotiation_assigns_and_opens() -> None:
    setup = Setup()
    downlinks = DownlinkScheduler(setup.webrtc_server, BandwidthSettings())
    one = OneSection(setup.webrtc_server, "PA_2", setup.listener, downlinks, DecisionLog(), media_budget())
    one.subscribe(A, setup.camera, SubscriptionSettings())
    with pytest.raises(AtCapacity):
        one.subscribe(B, setup.camera, SubscriptionSettings())
    assert list(setup.camera.consumers) == [A]
    one.answer()
    (down_track,) = setup.camera.track.down_tracks
    assert (down_track.payload_types[0], down_track.mid_word) == (120, int.from_bytes(b"7x", "big"))
    one.unsubscribe(A)
    assert (one.assigned, setup.camera.track.down_tracks) == (None, [])
    one.subscribe(B, setup.camera, SubscriptionSettings())
    one.close()
    one.subscribe(A, setup.camera, SubscriptionSettings())
    assert setup.camera.consumers == {}


async def test_changes_within_one_turn_share_one_offer_and_later_ones_wait_for_its_answer() -> None:
    setup, peer = Setup(), RawPeer()
    subscriber = setup.offering()
    subscriber.subscribe(A, setup.camera, SubscriptionSettings())
    subscriber.subscribe(B, setup.camera, SubscriptionSettings())
    await next_turn()
    ((offer_id, sdp, tracks),) = setup.listener.offers
    assert list(tracks.values()) == [A, B]
    subscriber.unsubscribe(A)
    await next_turn()
    assert len(setup.listener.offers) == 1
    subscriber.accept_answer(offer_id, peer.answer(sdp))
    await next_turn()
    assert [list(tracks.values()) for _, _, tracks in setup.listener.offers] == [[A, B], [B]]
    assert len(setup.camera.track.down_tracks) == 1
    subscriber.close()
    peer.close()


async def test_a_restart_withdraws_the_open_offer() -> None:
    setup, peer = Setup(), RawPeer()
    subscriber = setup.offering()
    subscriber.restart()
    subscriber.subscribe(A, setup.camera, SubscriptionSettings())
    await next_turn()
    subscriber.restart()
    await next_turn()
    (first, sdp, _), (second, fresh, _) = setup.listener.offers
    with pytest.raises(BadRequest) as refused:
        subscriber.accept_answer(first, peer.answer(sdp))
    assert refused.value.code == "no_open_offer"
    subscriber.accept_answer(second, peer.answer(fresh))
    subscriber.close()
    peer.close()


async def test_a_refused_codec_is_reported() -> None:
    setup, peer = Setup(), RawPeer()
    subscriber = setup.offering()
    subscriber.subscribe(A, setup.camera, SubscriptionSettings())
    await next_turn()
    offer_id, sdp, _ = setup.listener.offers[0]
    without = "\r\n".join(line for line in sdp.split("\r\n") if "VP8/90000" not in line)
    subscriber.accept_answer(offer_id, peer.answer(without))
    assert setup.listener.reasons == [(A, "codec")]
    subscriber.close()
    peer.close()


async def test_nothing_is_offered_after_the_end() -> None:
    setup, peer = Setup(), RawPeer()
    subscriber = setup.offering()
    subscriber.subscribe(A, setup.camera, SubscriptionSettings())
    await next_turn()
    offer_id, sdp, _ = setup.listener.offers[0]
    subscriber.lost("no consent")
    with pytest.raises(BadRequest) as refused:
        subscriber.accept_answer(offer_id, peer.answer(sdp))
    assert refused.value.code == "connection_closed"
    subscriber.subscribe(B, setup.camera, SubscriptionSettings())
    subscriber.restart()
    await next_turn()
    assert (len(setup.listener.offers), setup.listener.lost, setup.camera.consumers) == (1, 1, {})
    subscriber.close()
    peer.close()
