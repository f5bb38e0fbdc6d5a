"""Connection quality of links, and its broadcast."""

import pytest

from sfu.rooms.quality import Quality, quality_of
from tests.rooms.fakes import FakeLink, House, sink_of

JUDGEMENTS: list[tuple[FakeLink, Quality]] = [
    (FakeLink(), "excellent"),
    (FakeLink(rtt=None), "excellent"),
    (FakeLink(rtt=0.149, loss=0.019), "excellent"),
    (FakeLink(rtt=0.15), "good"),
    (FakeLink(loss=0.02), "good"),
    (FakeLink(rtt=0.299, loss=0.049), "good"),
    (FakeLink(rtt=0.3), "poor"),
    (FakeLink(loss=0.05), "poor"),
    (FakeLink(silent_for=6.5), "excellent"),
    (FakeLink(silent_for=6.6), "lost"),
    (FakeLink(connected=False), "lost"),
]


@pytest.mark.parametrize(("link", "quality"), JUDGEMENTS)
def test_one_link(link: FakeLink, quality: Quality) -> None:
    assert quality_of(link) == quality


def test_who_is_told_what() -> None:
    house = House()
    ada, bob, spy, chatter = house.seat("ada"), house.seat("bob"), house.seat("spy", hidden=True), house.seat("text")
    sink_of(ada).its_links = (FakeLink(), FakeLink(loss=0.03, rtt=0.1))
    sink_of(bob).its_links = (FakeLink(connected=False),)
    sink_of(spy).its_links = (FakeLink(),)
    house.rooms.observe_quality()
    # A connection that is only being made is not lost; the hidden are not named; who has none is not judged.
    event = sink_of(bob).last
    assert event.qualities == {ada.id: "good"}
    assert sink_of(ada).last.loss == 0.03
    assert sink_of(ada).last.rtt == 0.1
    assert sink_of(chatter).last.qualities == {ada.id: "good"}
    for seat in (ada, bob, spy, chatter):
        sink_of(seat).take()
    sink_of(bob).its_links = (FakeLink(),)
    house.rooms.observe_quality()
    assert sink_of(ada).last.qualities == {bob.id: "excellent"}
    late = house.seat("late")
    sink_of(ada).take()
    house.rooms.observe_quality()
    assert sink_of(ada).take() == []
    assert sink_of(late).last.qualities == {ada.id: "good", bob.id: "excellent"}
    assert sink_of(late).deliveries[-1].number == 0
    sink_of(bob).its_links = (FakeLink(connected=False),)
    house.rooms.observe_quality()
    assert sink_of(ada).last.qualities == {bob.id: "lost"}
