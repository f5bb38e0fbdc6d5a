"""A published track as rooms see it: its consumers, its layers and their demand."""

from sfu.forwarding.decision_log import Cause
from sfu.forwarding.dynacast import PAUSE_DELAY
from sfu.forwarding.layers import Size
from sfu.ids import TrackId
from sfu.rooms.ports import SubscriptionSettings
from sfu.transport.dynacast_manager import DynacastManager
from sfu.transport.published_track import PublishedTrack
from tests.support.wire import Bench, rtp, vp8

SIZES = {"q": Size(160, 90), "h": Size(320, 180), "f": Size(640, 360)}
NAME = TrackId("TR_a")


class Consumer:
    def __init__(self, settings: SubscriptionSettings) -> None:
        self.settings = settings
        self.selected: list[tuple[TrackId, float]] = []

    def reselect(self, track: TrackId, now: float) -> None:
        self.selected.append((track, now))

    def settings_of(self, track: TrackId) -> SubscriptionSettings | None:
        return self.settings

    def quality_limitation_changed(self, track: TrackId, cause: Cause, now: float) -> None: ...


def test_consumers_are_asked_to_select_again() -> None:
    source = PublishedTrack(Bench().engine, Bench().video(), "PA_1")
    one, two = Consumer(SubscriptionSettings()), Consumer(SubscriptionSettings())
    for consumer in (one, two):
        source.add_consumer(NAME, consumer)
    assert source.reselect(7.0) == 2
    assert one.selected == two.selected == [(NAME, 7.0)]
    for _ in range(2):
        source.remove_consumer(NAME, one)
    assert source.reselect(8.0) == 1
    source.remove_consumer(NAME, two)
    assert (source.reselect(9.0), source.consumers) == (0, {})


def test_the_publisher_pauses_layers_that_no_one_watches() -> None:
    bench, wanted = Bench(), list[tuple[str, ...]]()
    manager = DynacastManager()
    source = PublishedTrack(
        bench.engine, bench.video(), "PA_1", dynacast_manager=manager, notify_publisher=wanted.append
    )
    source.declared = dict(SIZES)
    for rid, ssrc in zip(SIZES, (11, 12, 13), strict=True):
        bench.send(rtp(vp8(key=True), ssrc=ssrc, sequence=1, timestamp=0, extensions={4: b"1", 10: rid.encode()}))
    bench.tick(0.1)
    source.add_consumer(NAME, Consumer(SubscriptionSettings(width=160, height=90)))
    for now in (0.0, PAUSE_DELAY + 1.0):
        manager.tick(now)
    assert wanted == [("q",)]
    assert source.max_height(90) == 360
    assert source.paused() == ()  # they still send
    bench.tick(3.0)
    assert source.paused() == ("h", "f")
    source.request_layers(("q", "h"))
    assert wanted[-1] == ("q", "h")


def test_a_closed_track_is_not_checked_again() -> None:
    bench, manager = Bench(), DynacastManager()
    source = PublishedTrack(bench.engine, bench.video(), "PA_1", dynacast_manager=manager)
    source.declared = dict(SIZES)
    bench.engine.remove_track(source.track)
    source.touch()
    manager.tick(1.0)
    source.request_layers(("q",))
    assert source.dynacast.next_at is None


def test_muting_stops_forwarding_and_levels_are_taken_once() -> None:
    bench = Bench()
    source = PublishedTrack(bench.engine, bench.audio(), "PA_1")
    source.set_muted(True)
    assert source.track.muted
    bench.send(rtp(b"sound", ssrc=5, sequence=1, timestamp=0, payload_type=111, extensions={4: b"0", 1: bytes([23])}))
    assert (source.take_level(), source.take_level()) == (23, None)
    source.set_muted(False)
    assert not source.track.muted
