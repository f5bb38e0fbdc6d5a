"""The subscriptions of one peer: their life, their consumers' side, and statistics."""

from dataclasses import dataclass, field

import pytest

from sfu.bandwidth.settings import Settings as BandwidthSettings
from sfu.forwarding.decision_log import Cause, DecisionLog
from sfu.forwarding.layers import Size
from sfu.forwarding.peer import EnginePeer
from sfu.forwarding.track import Track
from sfu.ids import TrackId
from sfu.rooms.ports import SubscriptionSettings
from sfu.rtp.rtcp import ReportBlock
from sfu.sdp.capabilities import OUT_EXTENSION_IDS, URI_TRANSPORT_CC
from sfu.transport.down_tracks import DownTracks
from sfu.transport.downlink_scheduler import DownlinkScheduler
from sfu.transport.published_track import PublishedTrack
from sfu.transport.settings import Settings
from sfu.transport.subscription import SendParameters, SentState, Subscription
from sfu.transport.webrtc_server import WebRtcServer
from tests.support.wire import Bench, Wire, rtp, vp8

TRACK = TrackId("TR_1")
SENT = SendParameters("00", 71, 72, 100, None, 101, {URI_TRANSPORT_CC: OUT_EXTENSION_IDS[URI_TRANSPORT_CC]})


@dataclass
class Setup:
    """One camera of one layer, and a subscriber."""

    bench: Bench = field(default_factory=Bench)
    wire: Wire = field(default_factory=Wire)
    states: list[SentState] = field(default_factory=list)
    decision_log: DecisionLog = field(default_factory=DecisionLog)
    estimated: bool = False

    def __post_init__(self) -> None:
        self.webrtc_server = WebRtcServer(Settings())
        self.webrtc_server.engine = self.bench.engine
        self.peer: EnginePeer = self.bench.peer(self.wire)
        self.downlinks = DownlinkScheduler(self.webrtc_server, BandwidthSettings(enabled=self.estimated))
        self.down_tracks = DownTracks(self.bench.engine, self.downlinks, self._send_state, self.decision_log)
        self.source = self.camera()
        self.send(key=True)
        self.bench.tick(0.5)
        self.bench.now += 5

    def _send_state(self, subscription: Subscription, sent_state: SentState) -> None:
        subscription.sent_state = sent_state
        self.states.append(sent_state)

    def camera(self) -> PublishedTrack:
        source = PublishedTrack(self.webrtc_server.engine, self.bench.video(rids=(), ssrcs=((11, None),)), "PA_1")
        source.declared = {"": Size(640, 360)}
        return source

    def send(self, *, key: bool) -> None:
        self.bench.send(rtp(vp8(key=key), ssrc=11, sequence=self.bench.count, timestamp=3000 * self.bench.count))
        self.bench.count += 1

    def subscribe(self, settings: SubscriptionSettings = SubscriptionSettings()) -> Subscription:  # noqa: B008
        subscription = Subscription(TRACK, self.source, settings)
        self.down_tracks.add(subscription)
        self.down_tracks.open(subscription, self.peer, SENT, 1, self.bench.now)
        return subscription


def test_a_subscription_from_its_start_to_its_end() -> None:
    setup = Setup()
    subscription = setup.subscribe()
    setup.send(key=True)
    assert setup.wire.media() == []  # the path is not open yet
    setup.down_tracks.start(setup.bench.now)
    setup.send(key=True)
    assert [packet.ssrc for packet in setup.wire.media()] == [71]
    assert setup.down_tracks.sending_video
    assert setup.down_tracks.remove(TRACK) is subscription
    assert setup.down_tracks.remove(TRACK) is None
    setup.send(key=True)
    assert (setup.wire.media(), setup.source.consumers, list(setup.down_tracks)) == ([], {}, [])
    assert not setup.down_tracks.sending_video


def test_a_subscription_is_opened_once_and_only_while_its_source_lives() -> None:
    setup = Setup()
    subscription = setup.subscribe()
    down_track = subscription.down_track
    setup.down_tracks.open(subscription, setup.peer, SENT, 1, setup.bench.now)
    assert subscription.down_track is down_track
    late = Subscription(TrackId("TR_2"), setup.camera(), SubscriptionSettings())
    setup.down_tracks.add(late)
    assert isinstance(late.source.track, Track)
    setup.bench.engine.remove_track(late.source.track)
    setup.down_tracks.open(late, setup.peer, SENT, 1, setup.bench.now)
    assert late.down_track is None


def test_settings_of_the_same_source_change_and_another_source_is_another_subscription() -> None:
    setup = Setup()
    setup.down_tracks.start(setup.bench.now)
    setup.subscribe()
    paused = SubscriptionSettings(paused=True)
    assert setup.down_tracks.update_same_source(TRACK, setup.source, paused, setup.bench.now)
    assert setup.down_tracks.settings_of(TRACK) == paused
    assert setup.states[-1] == SentState(True, "requested")
    assert not setup.down_tracks.update_same_source(TRACK, setup.camera(), paused, setup.bench.now)
    assert not setup.down_tracks.update_same_source(TrackId("TR_9"), setup.source, paused, setup.bench.now)
    setup.down_tracks.update(TRACK, SubscriptionSettings(), setup.bench.now)
    assert setup.states[-1].paused is False


def test_a_source_reports_to_its_consumer() -> None:
    setup = Setup()
    setup.down_tracks.start(setup.bench.now)
    setup.subscribe()
    for encoding in setup.source.track.encodings.values():
        encoding.width, encoding.height = 320, 180
    assert setup.source.reselect(setup.bench.now) == 1
    assert setup.states[-1].height == 180
    setup.down_tracks.reselect(TrackId("TR_9"), setup.bench.now)
    setup.down_tracks.quality_limitation_changed(TRACK, Cause.CPU, setup.bench.now)
    assert [(entry.cause, entry.track) for entry in setup.decision_log] == [(Cause.CPU, TRACK)]
    assert setup.down_tracks.settings_of(TrackId("TR_9")) is None


@pytest.mark.parametrize("estimated", [True, False])
def test_statistics(estimated: bool) -> None:
    setup = Setup(estimated=estimated)
    setup.down_tracks.start(setup.bench.now)
    assert (setup.down_tracks.loss, setup.down_tracks.rate, setup.down_tracks.video_stats()) == (0.0, 0.0, ())
    subscription = setup.subscribe()
    setup.downlinks.tick(setup.bench.now)
    (stats,) = setup.down_tracks.video_stats()
    assert (stats.track, stats.height, stats.paused) == (TRACK, 360, False)
    assert (setup.down_tracks.path() is not None, setup.down_tracks.rate > 0) == (estimated, estimated)
    setup.send(key=True)
    assert subscription.down_track is not None
    subscription.down_track.last_report_block = ReportBlock(71, 64, 0, 0, 0, 0, 0)
    assert setup.down_tracks.loss == 0.25


def test_closing_leaves_the_sources() -> None:
    setup = Setup()
    setup.subscribe()
    for _ in range(2):
        setup.down_tracks.close()
    assert (setup.source.consumers, list(setup.down_tracks)) == ({}, [])
    setup.down_tracks.reselect(TRACK, setup.bench.now)
    assert setup.states == []
