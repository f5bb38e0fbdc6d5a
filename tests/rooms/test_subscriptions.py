"""Subscriptions outlive their connection."""

from sfu.ids import TrackId
from sfu.rooms.ports import SubscriptionSettings
from sfu.rooms.publication import Publication
from sfu.rooms.subscriptions import Subscriptions
from sfu.rooms.track_description import TrackDescription
from tests.rooms.fakes import FakeMedia, RoomsFixture
from tests.support.media_source import FakeSource

T1, T2 = TrackId("TR_1"), TrackId("TR_2")


def publication(track: TrackId) -> Publication:
    return Publication(track, RoomsFixture().join("owner").id, FakeSource(), TrackDescription())


def test_partial_settings_change_only_their_fields() -> None:
    subscriptions, media = Subscriptions(auto_subscribe=False), FakeMedia()
    subscriptions.attach_sink(media)
    one = publication(T1)
    subscriptions.update(one, width=320, height=180)
    subscriptions.update(one, priority=7)
    subscriptions.update(one, paused=True, width=0)
    assert media.calls == [
        ("subscribe", T1, SubscriptionSettings(320, 180)),
        ("update", T1, SubscriptionSettings(320, 180, 0, 7)),
        ("update", T1, SubscriptionSettings(0, 180, 0, 7, True)),
    ]


def test_settings_outlive_the_connection() -> None:
    subscriptions, first, second = Subscriptions(auto_subscribe=False), FakeMedia(), FakeMedia()
    one, two = publication(T1), publication(T2)
    subscriptions.subscribe(one)
    assert T1 in subscriptions
    subscriptions.attach_sink(first)
    subscriptions.update(two, fps=15)
    subscriptions.detach_sink()
    subscriptions.update(two, width=100)
    subscriptions.unsubscribe(T1)
    subscriptions.attach_sink(second)
    assert first.calls == [("subscribe", T1, SubscriptionSettings()), ("subscribe", T2, SubscriptionSettings(fps=15))]
    assert second.calls == [("subscribe", T2, SubscriptionSettings(100, 0, 15))]


def test_an_unsubscribed_track_keeps_its_settings_until_it_is_unpublished() -> None:
    subscriptions, media = Subscriptions(auto_subscribe=True), FakeMedia()
    subscriptions.attach_sink(media)
    one = publication(T1)
    subscriptions.update(one, width=5)
    subscriptions.unsubscribe(T1)
    subscriptions.unsubscribe(T1)
    subscriptions.subscribe(one)
    subscriptions.subscribe(one)
    assert media.calls[1:] == [("unsubscribe", T1), ("subscribe", T1, SubscriptionSettings(5))]
    subscriptions.forget(T1)
    assert subscriptions.settings(T1) == SubscriptionSettings()
    subscriptions.subscribe(one)
    subscriptions.clear()
    assert media.calls[-1] == ("unsubscribe", T1)
