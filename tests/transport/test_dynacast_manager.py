"""Collected changes of demand, and requests to publishers when they are due."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pytest

from sfu.forwarding.dynacast import PAUSE_DELAY, REPEAT, Dynacast
from sfu.forwarding.layers import Size
from sfu.ids import TrackId
from sfu.rooms.ports import SubscriptionSettings
from sfu.transport.dynacast_manager import EVERY, DynacastManager, Subscriber

LADDER = {"q": Size(320, 180), "h": Size(640, 360), "f": Size(1280, 720)}
TRACK = TrackId("TR_x")


@dataclass
class Viewer:
    settings: SubscriptionSettings | None = field(default_factory=SubscriptionSettings)

    def settings_of(self, track: TrackId) -> SubscriptionSettings | None:
        assert track == TRACK
        return self.settings


@dataclass(eq=False)
class Source:
    """A DynacastSource that keeps the requests to its publisher."""

    declared: Mapping[str, Size] = field(default_factory=lambda: dict(LADDER))
    dynacast: Dynacast = field(default_factory=Dynacast)
    viewers: list[Viewer] = field(default_factory=list)
    requests: list[tuple[str, ...]] = field(default_factory=list)

    @property
    def consumers(self) -> Mapping[TrackId, Sequence[Subscriber]]:
        return {TRACK: self.viewers}

    def request_layers(self, rids: tuple[str, ...]) -> None:
        self.requests.append(rids)


def test_layers_without_viewers_pause_after_the_delay_without_another_change() -> None:
    manager, source = DynacastManager(), Source()
    manager.touch(source)
    manager.tick(0.0)
    assert source.requests == []
    manager.tick(PAUSE_DELAY - 0.01)
    assert source.requests == []
    manager.tick(PAUSE_DELAY + EVERY)
    assert source.requests == [("q",)]
    manager.tick(PAUSE_DELAY * 10)
    assert source.requests == [("q",)]


def test_a_larger_tile_resumes_layers_at_the_next_tick() -> None:
    manager, source = DynacastManager(), Source()
    manager.touch(source)
    manager.tick(0.0)
    manager.tick(PAUSE_DELAY + EVERY)
    source.viewers.append(Viewer(SubscriptionSettings(width=640, height=360)))
    manager.touch(source)
    manager.tick(PAUSE_DELAY + 1.0)
    assert source.requests == [("q",), ("q", "h")]


def test_changes_within_the_interval_are_collected() -> None:
    manager, source = DynacastManager(), Source()
    manager.touch(source)
    manager.tick(0.0)
    manager.tick(PAUSE_DELAY + EVERY)
    source.requests.clear()
    now = PAUSE_DELAY + 1.0
    manager.touch(source)
    manager.tick(now)
    for size in (320, 640, 1280):
        source.viewers = [Viewer(SubscriptionSettings(width=size, height=size))]
        manager.touch(source)
        manager.tick(now + EVERY * 0.9)
    assert source.requests == []
    manager.tick(now + EVERY)
    assert source.requests == [("q", "h", "f")]


@pytest.mark.parametrize(
    "settings",
    [None, SubscriptionSettings(paused=True), SubscriptionSettings(withheld=True)],
    ids=["gone", "paused", "withheld"],
)
def test_stopped_subscriptions_need_no_layers(settings: SubscriptionSettings | None) -> None:
    manager, source = DynacastManager(), Source(viewers=[Viewer(settings)])
    manager.touch(source)
    manager.tick(0.0)
    manager.tick(PAUSE_DELAY + EVERY)
    assert source.requests == [("q",)]


def test_the_request_is_repeated_after_a_negotiation() -> None:
    manager, source = DynacastManager(), Source()
    manager.touch(source)
    manager.tick(0.0)
    manager.tick(PAUSE_DELAY + EVERY)
    source.dynacast.negotiated(20.0)
    manager.touch(source)
    manager.tick(20.0)
    manager.tick(20.0 + REPEAT)
    assert source.requests == [("q",), ("q",)]


@pytest.mark.parametrize("enabled", [False, True])
def test_tracks_without_layers_and_a_disabled_dynacast_ask_for_nothing(enabled: bool) -> None:
    manager = DynacastManager(enabled=enabled)
    source = Source(declared={"q": LADDER["q"]} if enabled else dict(LADDER))
    manager.touch(source)
    manager.tick(0.0)
    manager.tick(100.0)
    assert source.requests == []
    assert source.dynacast.next_at is None


def test_a_forgotten_track_is_not_asked() -> None:
    manager, touched, due = DynacastManager(), Source(), Source()
    manager.touch(due)
    manager.tick(0.0)
    manager.touch(touched)
    for source in (touched, due):
        manager.forget(source)
        manager.forget(source)
    manager.tick(1.0)
    manager.tick(100.0)
    assert touched.requests == due.requests == []
    assert touched.dynacast.next_at is None
