"""One subscriber's decisions on their way to its routes, with a real engine and a viewer by hand."""

import itertools
import struct

import pytest

from sfu.bandwidth.settings import Settings
from sfu.bandwidth.twcc import Recorder
from sfu.forwarding.allocator import Rank
from sfu.forwarding.decision_log import Cause, DecisionLog
from sfu.forwarding.dynacast import PAUSE_DELAY
from sfu.forwarding.encoding import Encoding
from sfu.forwarding.layers import Size
from sfu.forwarding.track import Track
from sfu.ids import TrackId
from sfu.rooms.ports import SubscriptionSettings
from sfu.sdp.capabilities import OUT_EXTENSION_IDS, URI_TRANSPORT_CC
from sfu.transport.downlink_scheduler import DownlinkScheduler
from sfu.transport.layer_control import LayerControl
from sfu.transport.published_track import PublishedTrack
from sfu.transport.settings import Settings as TransportSettings
from sfu.transport.subscription import SentState, Subscription
from sfu.transport.webrtc_server import WebRtcServer
from tests.support.wire import Bench, Wire, rtp, vp8

SIZES = {"q": Size(160, 90), "h": Size(320, 180), "f": Size(640, 360)}
"""About 50, 121 and 484 kbit/s, as long as nothing is measured. Keyframes of `vp8` say 640 × 360."""
SSRCS = {"q": 11, "h": 12, "f": 13}
TWCC = OUT_EXTENSION_IDS[URI_TRANSPORT_CC]


class Stage:
    """A camera and a microphone, and one who watches and hears them."""

    def __init__(self, start: float = 4e6, *, enabled: bool = True) -> None:
        self.bench, self.wire = Bench(), Wire()
        self.webrtc_server = WebRtcServer(TransportSettings())
        self.webrtc_server.engine = self.bench.engine
        self.downlinks = DownlinkScheduler(self.webrtc_server, Settings(start=start, enabled=enabled))
        self.decision_log = DecisionLog()
        self.sent_state: list[tuple[str, SentState]] = []
        self.layer_control = LayerControl(self.bench.engine, self.downlinks, self._send_state, self.decision_log)
        self.layer_control.start(0.0)
        self.viewer = self.bench.peer(self.wire)
        self._sequence = itertools.count(1)
        self._routes = itertools.count()
        self.camera, self.microphone = self.bench.video(), self.bench.audio()
        self.send("q", "h", "f")
        self.bench.tick(0.5)  # layers come alive
        self.bench.now += 5.0  # and are no longer new

    def _send_state(self, subscription: Subscription, sent_state: SentState) -> None:
        subscription.sent_state = sent_state
        self.sent_state.append((subscription.track, sent_state))

    def send(self, *rids: str, key: bool = False) -> None:
        for rid in rids:
            number = next(self._sequence)
            extensions = {4: b"1", 10: rid.encode(), 3: struct.pack("!H", number)}
            self.bench.send(
                rtp(vp8(key=key, size=900), ssrc=SSRCS[rid], sequence=number, timestamp=number, extensions=extensions)
            )

    def subscription(self, name: str, track: Track, *, screen: bool = False) -> Subscription:
        source = PublishedTrack(self.webrtc_server.engine, track, "s", screen=screen)
        source.declared = dict(SIZES) if track.kind == "video" else {}
        down_track = self.bench.down_track(track, self.viewer, number=next(self._routes))
        return Subscription(TrackId(name), source, SubscriptionSettings(), down_track=down_track)

    def watch(self, name: str = "TR_cam", *, feedback: bool = True) -> Subscription:
        subscription = self.subscription(name, self.camera)
        self.layer_control.add(subscription, self.viewer, feedback=feedback, now=self.bench.now)
        return subscription

    def update(self, seconds: float = 0.05) -> None:
        self.bench.now += seconds
        self.layer_control.update(self.bench.now, allocate=True)

    def target(self, subscription: Subscription) -> str:
        assert subscription.down_track is not None
        target = subscription.down_track.target
        assert target is None or isinstance(target, Encoding)
        return target.rid if target is not None else ""


def test_sound_alone_is_not_allocated() -> None:
    stage = Stage()
    sound = stage.subscription("TR_mic", stage.microphone)
    stage.layer_control.add(sound, stage.viewer, feedback=True, now=stage.bench.now)
    assert stage.layer_control.downlink is None
    stage.update()
    assert stage.sent_state == []
    stage.watch()
    assert stage.layer_control.downlink is stage.viewer.downlink is not None
    assert len(stage.layer_control.downlink.requests) == 2
    assert sound.down_track is not None
    assert sound.down_track.on_sent is not None  # packets before the first picture are reported too


@pytest.mark.parametrize(
    ("start", "layer", "reason", "cause"),
    [
        (4e6, "f", "", Cause.REQUESTED),
        (300e3, "h", "congestion", Cause.BUDGET),
        (90e3, "q", "congestion", Cause.BUDGET),
    ],
)
def test_the_first_look_aims(start: float, layer: str, reason: str, cause: Cause) -> None:
    stage = Stage(start)
    subscription = stage.watch()
    stage.update()
    assert stage.target(subscription) == layer
    size = SIZES[layer]
    assert stage.sent_state == [("TR_cam", SentState(False, reason, layer, size.width, size.height))]
    assert (stage.sent_state[0][1].cause, stage.sent_state[0][1].max_height) == (cause, 360)
    stage.update()
    assert len(stage.sent_state) == 1


def test_paused_layers_do_not_count_as_missing() -> None:
    """The publisher pauses layers without viewers, so a small tile does not get "the best that is sent"."""
    stage = Stage()
    subscription = stage.watch()
    assert isinstance(subscription.source, PublishedTrack)
    for now in (0.0, PAUSE_DELAY):
        subscription.source.dynacast.update(SIZES, [(160, 90)], now)
    for _ in range(4):
        stage.send("q")
        stage.bench.tick(1.0)
    stage.bench.now += 4.0
    stage.update()
    ((_, sent_state),) = stage.sent_state
    assert (sent_state.layer, sent_state.max_height) == ("q", 360)


def test_tracks_beyond_the_budget_are_paused_and_reported() -> None:
    stage = Stage(60e3)
    first, second = stage.watch("TR_a"), stage.watch("TR_b")
    stage.update()
    assert sorted(map(stage.target, (first, second))) == ["", "q"]
    assert [sent_state.reason for _, sent_state in stage.sent_state if sent_state.paused] == ["congestion"]
    assert next(sent_state.cause for _, sent_state in stage.sent_state if sent_state.paused) is Cause.BUDGET


def test_a_publisher_that_sends_nothing_is_no_congestion() -> None:
    stage = Stage()
    stage.bench.tick(5.0)  # silence
    stage.watch()
    stage.update()
    ((_, sent_state),) = stage.sent_state
    assert (sent_state.paused, sent_state.reason, sent_state.cause) == (True, "no_layer", Cause.SILENT)


def test_a_flooded_path_stops_the_old_layer_at_once() -> None:
    stage = Stage()
    subscription = stage.watch()
    stage.update()
    stage.send("f", key=True)
    assert subscription.down_track is not None
    assert subscription.down_track.current is stage.camera.encodings["f"]
    assert stage.layer_control.downlink is not None
    stage.bench.now += 4.0
    stage.layer_control.downlink.receive_remb(150e3, stage.bench.now)
    stage.update()
    assert subscription.down_track.current is None
    assert stage.target(subscription) == "h"
    assert stage.sent_state[-1][1].cause is Cause.BUDGET
    assert "estimate" in [entry.kind.value for entry in stage.decision_log]


@pytest.mark.parametrize(("what", "reason"), [("paused", "requested"), ("muted", "muted"), ("withheld", "last_n")])
def test_paused_withheld_and_muted_tracks_are_not_sent(what: str, reason: str) -> None:
    stage = Stage()
    subscription = stage.subscription("TR_cam", stage.camera)
    subscription.settings = SubscriptionSettings(paused=what == "paused", withheld=what == "withheld")
    stage.camera.muted = what == "muted"
    stage.layer_control.add(subscription, stage.viewer, feedback=True, now=stage.bench.now)
    stage.update()
    assert stage.sent_state == [("TR_cam", SentState(True, reason))]
    assert stage.target(subscription) == ""
    assert stage.layer_control.downlink is not None
    (update_request,) = stage.layer_control.downlink.requests.values()
    assert update_request.hidden


@pytest.mark.parametrize(
    ("screen", "priority", "rank"),
    [(False, 128, Rank.OTHER), (False, 254, Rank.OTHER), (False, 255, Rank.STAGE), (True, 255, Rank.SCREEN)],
)
def test_screens_and_the_stage_come_first(screen: bool, priority: int, rank: Rank) -> None:
    stage = Stage()
    subscription = stage.subscription("TR_cam", stage.camera, screen=screen)
    subscription.settings = SubscriptionSettings(priority=priority)
    stage.layer_control.add(subscription, stage.viewer, feedback=True, now=stage.bench.now)
    assert stage.layer_control.downlink is not None
    assert [update_request.rank for update_request in stage.layer_control.downlink.requests.values()] == [rank]


def test_repeated_settings_are_applied_again() -> None:
    stage = Stage()
    subscription = stage.watch()
    stage.update()
    assert subscription.down_track is not None
    subscription.down_track.clear_target()  # e.g. paused for a moment by the client
    stage.layer_control.select(subscription, stage.bench.now)
    stage.update()
    assert stage.target(subscription) == "f"


def test_only_what_the_client_tells_of_is_noted() -> None:
    stage = Stage()
    sent_state, untold = stage.watch("TR_a"), stage.watch("TR_b", feedback=False)
    assert sent_state.down_track is not None
    assert untold.down_track is not None
    assert (sent_state.down_track.on_sent is not None, untold.down_track.on_sent) == (True, None)


def test_a_probe_gets_its_padding() -> None:
    stage = Stage(300e3)
    subscription = stage.watch()
    stage.update()
    stage.send("h", key=True)
    for _ in range(8):
        stage.send("h")
        stage.bench.now += 0.01
    sent = [int.from_bytes(packet.extensions[TWCC], "big") for packet in stage.wire.media()]
    recorder = Recorder(5)
    for step, number in enumerate(sent):
        recorder.record(number, 7.0 + 0.01 * step)
    assert subscription.down_track is not None
    for feedback in recorder.feedback(subscription.down_track.ssrc):
        stage.bench.engine.receive_rtcp(stage.viewer, feedback, stage.bench.now, stage.bench.now + 3e9)
    for _ in range(20):
        stage.update()
    padding = stage.wire.media()
    assert len(padding) > 5
    assert {packet.ssrc for packet in padding} == {subscription.down_track.rtx_ssrc}


def test_a_removed_down_track_is_forgotten() -> None:
    stage = Stage()
    subscription = stage.watch()
    stage.update()
    assert subscription.down_track is not None
    stage.layer_control.remove(subscription.down_track)
    assert stage.layer_control.downlink is not None
    assert stage.layer_control.downlink.requests == {}
    stage.update()
    stage.layer_control.close()
    stage.layer_control.close()
    stage.update()
    assert stage.layer_control.downlink is None
    assert len(stage.sent_state) == 1


@pytest.mark.parametrize(("height", "layer"), [(90, "q"), (180, "h"), (0, "f")])
def test_without_an_estimate_the_tile_size_decides(height: int, layer: str) -> None:
    stage = Stage(enabled=False)
    subscription = stage.subscription("TR_cam", stage.camera)
    subscription.settings = SubscriptionSettings(height=height)
    stage.layer_control.add(subscription, stage.viewer, feedback=True, now=stage.bench.now)
    assert stage.layer_control.downlink is None
    assert stage.target(subscription) == layer
    ((_, sent_state),) = stage.sent_state
    assert (sent_state.layer, sent_state.height, sent_state.max_height) == (layer, SIZES[layer].height, 360)


def test_nothing_is_sent_before_the_path_is_open() -> None:
    stage = Stage(enabled=False)
    layer_control = LayerControl(stage.bench.engine, None, stage._send_state, stage.decision_log)
    subscription = stage.subscription("TR_cam", stage.camera)
    layer_control.add(subscription, stage.viewer, feedback=False, now=stage.bench.now)
    layer_control.select(subscription, stage.bench.now)
    assert (stage.target(subscription), stage.sent_state) == ("", [])
    layer_control.start(stage.bench.now)
    assert stage.target(subscription) == "f"
    layer_control.close()
    subscription.settings = SubscriptionSettings(paused=True)
    layer_control.select(subscription, stage.bench.now)
    assert stage.target(subscription) == "f"
