"""Which participants get whose connection quality."""

from tests.rooms.fakes import FakeLink, House, sink_of


def test_changes_go_to_all_and_newcomers_get_every_known_quality() -> None:
    house = House()
    ada, bob, spy, chatter = house.seat("ada"), house.seat("bob"), house.seat("spy", hidden=True), house.seat("text")
    sink_of(ada).its_links = (FakeLink(), FakeLink(loss=0.03, rtt=0.1))
    sink_of(bob).its_links = (FakeLink(connected=False),)
    sink_of(spy).its_links = (FakeLink(),)
    house.rooms.observe_quality()
    # A connection that is still being established is not lost, hidden participants are not named, and a participant
    # without connections has no quality.
    assert sink_of(bob).last.qualities == {ada.id: "good"}
    assert sink_of(ada).last.loss == 0.03
    assert sink_of(ada).last.rtt == 0.1
    assert sink_of(chatter).last.qualities == {ada.id: "good"}
    assert dict(house.room.quality.known) == {ada.id: "good", spy.id: "excellent"}
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


def test_the_worst_connection_of_a_participant_counts() -> None:
    house = House()
    ada = house.seat("ada")
    sink_of(ada).its_links = (FakeLink(loss=0.2), FakeLink(rtt=0.2), FakeLink())
    house.rooms.observe_quality()
    assert house.room.quality.known == {ada.id: "poor"}
    sink_of(ada).its_links = (FakeLink(), FakeLink(silent_for=7.0))
    house.rooms.observe_quality()
    assert house.room.quality.known == {ada.id: "lost"}


def test_without_connections_the_last_quality_stays() -> None:
    house = House()
    ada = house.seat("ada")
    sink_of(ada).its_links = (FakeLink(),)
    house.rooms.observe_quality()
    sink_of(ada).take()
    sink_of(ada).its_links = ()
    house.rooms.observe_quality()
    assert sink_of(ada).take() == []
    assert house.room.quality.known == {ada.id: "excellent"}


def test_nothing_is_kept_of_participants_that_left() -> None:
    house = House()
    ada, bob = house.seat("ada"), house.seat("bob")
    sink_of(bob).its_links = (FakeLink(),)
    house.rooms.observe_quality()
    house.room.leave(bob)
    assert house.room.quality.known == {}
    back = house.seat("bob")
    sink_of(ada).take()
    sink_of(back).its_links = (FakeLink(connected=False),)
    house.rooms.observe_quality()
    assert sink_of(ada).take() == [], "the new connection is being established, not lost"
