"""One subscriber's decisions on their way to its routes, with a real engine and a viewer by hand."""

import itertools
import struct

import pytest

from sfu.bandwidth.settings import Settings
from sfu.bandwidth.twcc import Recorder
from sfu.forwarding.allocator import Rank
from sfu.forwarding.decision_log import Cause, Diary
from sfu.forwarding.dynacast import PATIENCE
from sfu.forwarding.selector import Size
from sfu.forwarding.track import Track
from sfu.ids import TrackId
from sfu.rooms.ports import Wish
from sfu.sdp.capabilities import OUT_EXTENSION_IDS, URI_TRANSPORT_CC
from sfu.transport.downlinks import Downlinks
from sfu.transport.layer_control import Steering
from sfu.transport.publisher import PublishedTrack
from sfu.transport.settings import Settings as TransportSettings
from sfu.transport.subscription import Outbound, Told
from sfu.transport.webrtc_server import Hub
from tests.support.wire import Bench, Wire, rtp, vp8

SIZES = {"q": Size(160, 90), "h": Size(320, 180), "f": Size(640, 360)}
"""About 50, 121 and 484 kbit/s, as long as nothing is measured. Keyframes of `vp8` say 640 × 360."""
SSRCS = {"q": 11, "h": 12, "f": 13}
TWCC = OUT_EXTENSION_IDS[URI_TRANSPORT_CC]


class Stage:
    """A camera and a microphone, and one who watches and hears them."""

    def __init__(self, start: float = 4e6, *, enabled: bool = True) -> None:
        self.bench, self.wire = Bench(), Wire()
        self.hub = Hub(TransportSettings())
        self.hub.engine = self.bench.engine
        self.downlinks = Downlinks(self.hub, Settings(start=start, enabled=enabled))
        self.diary = Diary()
        self.told: list[tuple[str, Told]] = []
        self.steering = Steering(self.hub, self.downlinks, self._tell, self.diary)
        self.viewer = self.bench.peer(self.wire)
        self._sequence = itertools.count(1)
        self._routes = itertools.count()
        self.camera, self.microphone = self.bench.video(), self.bench.audio()
        self.send("q", "h", "f")
        self.bench.tick(0.5)  # layers come alive
        self.bench.now += 5.0  # and are no longer new

    def _tell(self, outbound: Outbound, told: Told) -> None:
        outbound.told = told
        self.told.append((outbound.track, told))

    def send(self, *rids: str, key: bool = False) -> None:
        for rid in rids:
            number = next(self._sequence)
            extensions = {4: b"1", 10: rid.encode(), 3: struct.pack("!H", number)}
            self.bench.send(
                rtp(vp8(key=key, size=900), ssrc=SSRCS[rid], sequence=number, timestamp=number, extensions=extensions)
            )

    def outbound(self, name: str, track: Track, *, screen: bool = False) -> Outbound:
        source = PublishedTrack(self.hub, track, "s", screen=screen)
        source.declared = dict(SIZES) if track.kind == "video" else {}
        route = self.bench.route(track, self.viewer, number=next(self._routes))
        return Outbound(TrackId(name), source, Wish(), route=route)

    def watch(self, name: str = "TR_cam", *, feedback: bool = True) -> Outbound:
        outbound = self.outbound(name, self.camera)
        self.steering.add(outbound, self.viewer, feedback=feedback, now=self.bench.now)
        self.steering.want(outbound)
        return outbound

    def look(self, seconds: float = 0.05) -> None:
        self.bench.now += seconds
        self.steering.look(self.bench.now, allocate=True)

    def target(self, outbound: Outbound) -> str:
        assert outbound.route is not None
        return outbound.route.target.rid if outbound.route.target is not None else ""


def test_sound_alone_is_not_allocated() -> None:
    stage = Stage()
    sound = stage.outbound("TR_mic", stage.microphone)
    stage.steering.add(sound, stage.viewer, feedback=True, now=stage.bench.now)
    stage.steering.want(sound)
    assert stage.steering.downlink is None
    stage.look()
    assert stage.told == []
    stage.watch()
    assert stage.steering.downlink is stage.viewer.downlink is not None
    assert len(stage.steering.downlink.wants) == 2
    assert sound.route is not None
    assert sound.route.note is not None  # what came before the first picture is told of as well


@pytest.mark.parametrize(
    ("start", "layer", "reason", "cause"),
    [
        (4e6, "f", "", Cause.WISH),
        (300e3, "h", "congestion", Cause.BUDGET),
        (90e3, "q", "congestion", Cause.BUDGET),
    ],
)
def test_the_first_look_aims(start: float, layer: str, reason: str, cause: Cause) -> None:
    stage = Stage(start)
    outbound = stage.watch()
    stage.look()
    assert stage.target(outbound) == layer
    size = SIZES[layer]
    assert stage.told == [("TR_cam", Told(False, reason, layer, size.width, size.height))]
    assert (stage.told[0][1].cause, stage.told[0][1].top_height) == (cause, 360)
    stage.look()
    assert len(stage.told) == 1


def test_layers_that_rest_are_not_said_to_be_lacking() -> None:
    """Its publisher leaves out what nobody has a place for: who has a small one does not see "the best that is sent"."""
    stage = Stage()
    outbound = stage.watch()
    for now in (0.0, PATIENCE):
        outbound.source.demand.update(SIZES, [(160, 90)], now)
    for _ in range(4):
        stage.send("q")
        stage.bench.tick(1.0)
    stage.bench.now += 4.0
    stage.look()
    ((_, told),) = stage.told
    assert (told.layer, told.top_height) == ("q", 360)


def test_what_does_not_fit_is_parked_and_told() -> None:
    stage = Stage(60e3)
    first, second = stage.watch("TR_a"), stage.watch("TR_b")
    stage.look()
    assert sorted(map(stage.target, (first, second))) == ["", "q"]
    assert [told.reason for _, told in stage.told if told.paused] == ["congestion"]
    assert next(told.cause for _, told in stage.told if told.paused) is Cause.BUDGET


def test_a_publisher_that_sends_nothing_is_no_congestion() -> None:
    stage = Stage()
    stage.bench.tick(5.0)  # silence
    stage.watch()
    stage.look()
    ((_, told),) = stage.told
    assert (told.paused, told.reason, told.cause) == (True, "no_layer", Cause.SILENT)


def test_a_flooded_path_stops_the_old_layer_at_once() -> None:
    stage = Stage()
    outbound = stage.watch()
    stage.look()
    stage.send("f", key=True)
    assert outbound.route is not None
    assert outbound.route.current is stage.camera.encodings["f"]
    assert stage.steering.downlink is not None
    stage.bench.now += 4.0
    stage.steering.downlink.receive_remb(150e3, stage.bench.now)
    stage.look()
    assert outbound.route.current is None
    assert stage.target(outbound) == "h"
    assert stage.told[-1][1].cause is Cause.BUDGET
    assert "estimate" in [entry.kind.value for entry in stage.diary]


@pytest.mark.parametrize("what", ["paused", "muted", "withheld"])
def test_what_is_not_wanted_is_left_alone(what: str) -> None:
    stage = Stage()
    outbound = stage.outbound("TR_cam", stage.camera)
    outbound.wish = Wish(paused=what == "paused", withheld=what == "withheld")
    stage.camera.muted = what == "muted"
    stage.steering.add(outbound, stage.viewer, feedback=True, now=stage.bench.now)
    stage.steering.want(outbound)
    stage.look()
    assert (stage.told, stage.target(outbound)) == ([], "")
    assert stage.steering.downlink is not None
    (want,) = stage.steering.downlink.wants.values()
    assert want.hidden


@pytest.mark.parametrize(
    ("screen", "priority", "rank"),
    [(False, 128, Rank.OTHER), (False, 254, Rank.OTHER), (False, 255, Rank.STAGE), (True, 255, Rank.SCREEN)],
)
def test_screens_and_the_stage_come_first(screen: bool, priority: int, rank: Rank) -> None:
    stage = Stage()
    outbound = stage.outbound("TR_cam", stage.camera, screen=screen)
    outbound.wish = Wish(priority=priority)
    stage.steering.add(outbound, stage.viewer, feedback=True, now=stage.bench.now)
    assert stage.steering.downlink is not None
    assert [want.rank for want in stage.steering.downlink.wants.values()] == [rank]


def test_a_wish_is_carried_out_again_though_nothing_changed() -> None:
    stage = Stage()
    outbound = stage.watch()
    stage.look()
    assert outbound.route is not None
    outbound.route.park()  # e.g. paused for a moment by the client
    stage.steering.want(outbound)
    stage.look()
    assert stage.target(outbound) == "f"


def test_only_what_the_client_tells_of_is_noted() -> None:
    stage = Stage()
    told, untold = stage.watch("TR_a"), stage.watch("TR_b", feedback=False)
    assert told.route is not None
    assert untold.route is not None
    assert (told.route.note is not None, untold.route.note) == (True, None)


def test_a_probe_gets_its_padding() -> None:
    stage = Stage(300e3)
    outbound = stage.watch()
    stage.look()
    stage.send("h", key=True)
    for _ in range(8):
        stage.send("h")
        stage.bench.now += 0.01
    sent = [int.from_bytes(packet.extensions[TWCC], "big") for packet in stage.wire.media()]
    recorder = Recorder(5)
    for step, number in enumerate(sent):
        recorder.record(number, 7.0 + 0.01 * step)
    assert outbound.route is not None
    for feedback in recorder.feedback(outbound.route.ssrc):
        stage.bench.engine.receive_rtcp(stage.viewer, feedback, stage.bench.now, stage.bench.now + 3e9)
    for _ in range(20):
        stage.look()
    padding = stage.wire.media()
    assert len(padding) > 5
    assert {packet.ssrc for packet in padding} == {outbound.route.rtx_ssrc}


def test_what_is_gone_is_forgotten() -> None:
    stage = Stage()
    outbound = stage.watch()
    stage.look()
    assert outbound.route is not None
    stage.steering.remove(outbound.route)
    assert stage.steering.downlink is not None
    assert stage.steering.downlink.wants == {}
    stage.look()
    stage.steering.close()
    stage.steering.close()
    stage.look()
    assert stage.steering.downlink is None
    assert len(stage.told) == 1


def test_an_operator_may_want_none() -> None:
    stage = Stage(enabled=False)
    stage.watch()
    assert stage.steering.downlink is None
    stage.look()
    assert stage.told == []
