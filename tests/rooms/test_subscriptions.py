from sfu.ids import TrackId
from sfu.rooms.ports import Wish
from sfu.rooms.publication import Description, Publication
from sfu.rooms.subscriptions import Subscriptions
from tests.rooms.fakes import FakeMedia, FakeSource, House

T1, T2 = TrackId("TR_1"), TrackId("TR_2")


def publication(track: TrackId) -> Publication:
    return Publication(track, House().seat("owner"), FakeSource(), Description())


def test_partial_wishes_change_what_they_name() -> None:
    subscriptions, media = Subscriptions(auto=False), FakeMedia()
    subscriptions.open(media)
    one = publication(T1)
    subscriptions.refine(one, width=320, height=180)
    subscriptions.refine(one, priority=7)
    subscriptions.refine(one, paused=True, width=0)
    assert media.calls == [
        ("subscribe", T1, Wish(320, 180)),
        ("update", T1, Wish(320, 180, 0, 7)),
        ("update", T1, Wish(0, 180, 0, 7, True)),
    ]


def test_wishes_outlive_the_connection() -> None:
    subscriptions, first, second = Subscriptions(auto=False), FakeMedia(), FakeMedia()
    one, two = publication(T1), publication(T2)
    subscriptions.subscribe(one)
    assert T1 in subscriptions
    subscriptions.open(first)
    subscriptions.refine(two, fps=15)
    subscriptions.lose()
    subscriptions.refine(two, width=100)
    subscriptions.unsubscribe(T1)
    subscriptions.open(second)
    assert first.calls == [("subscribe", T1, Wish()), ("subscribe", T2, Wish(fps=15))]
    assert second.calls == [("subscribe", T2, Wish(100, 0, 15))]


def test_an_unsubscribed_track_keeps_its_wish_until_it_is_gone() -> None:
    subscriptions, media = Subscriptions(auto=True), FakeMedia()
    subscriptions.open(media)
    one = publication(T1)
    subscriptions.refine(one, width=5)
    subscriptions.unsubscribe(T1)
    subscriptions.unsubscribe(T1)
    subscriptions.subscribe(one)
    subscriptions.subscribe(one)
    assert media.calls[1:] == [("unsubscribe", T1), ("subscribe", T1, Wish(5))]
    subscriptions.forget(T1)
    assert subscriptions.wish(T1) == Wish()
    subscriptions.subscribe(one)
    subscriptions.clear()
    assert media.calls[-1] == ("unsubscribe", T1)
